"""Measure a target on a file of prompts or a benchmark, and compare it with other defences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from babelguard.attacks import Attack, attacked
from babelguard.benchmarks import Benchmark
from babelguard.corpus import Corpus, load_prompts, questions
from babelguard.defences import Defence, SoftDefence, WrittenDefence
from babelguard.defences.written import prompt_text
from babelguard.errors import UserError
from babelguard.evaluation.bench import Bench
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Metrics, ScoredReply
from babelguard.files import write_text
from babelguard.jobs.open_target import OpenedTarget, open_target, read_prompt
from babelguard.jobs.run_folder import open_folder
from babelguard.judges import Judge
from babelguard.languages import display_name
from babelguard.prompt import SafetyPrompt
from babelguard.registry import find, names
from babelguard.report.markdown import to_markdown
from babelguard.report.table import outcome_table
from babelguard.report.terminal import to_terminal
from babelguard.screen import Screen, Silent
from babelguard.targets import LocalModel


def evaluate(
    target: str,
    prompts: Path | str | None = None,
    *,
    benchmark: str | None = None,
    defences: Sequence[str] = (),
    attack: str = "none",
    judge: str = "patterns",
    model: str | None = None,
    languages: tuple[str, ...] | None = None,
    limit: int | None = None,
    reply_tokens: int = 24,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    output: Path | str | None = None,
    screen: Screen | None = None,
) -> Metrics:
    """Measure harmful answered and harmless refused per language, for a target and the defences it is compared with.

    Args:
        target: A run folder, a safety prompt's folder or hub id, or a model (measured without a prompt).
        prompts: CSV or JSONL file with `id`, `label` and one column per language code.
        benchmark: Name of a benchmark, instead of or together with `prompts`, which it then reads.
        defences: Other defences to measure: `none`, `written`, another registered name, or another run or prompt of the
            same base model.
        attack: Name of an attack that rewrites the requests.
        judge: Name of the judge.
        model: The base model, if it is not at the location the run remembers.
        languages: Languages to use; default: all.
        limit: Rows per label.
        reply_tokens: Maximum length of a reply in tokens.
        device: See `babelguard.models.devices.choose_device`.
        dtype: See `babelguard.models.devices.choose_dtype`.
        batch_size: Replies generated together.
        revision: Revision of a hub model.
        trust_remote_code: Allow model code from the hub to run.
        output: Folder of the results; default: RUN/evaluations/<name>, or evaluations/<target>/<name>.
        screen: Shows progress. Nothing is shown by default.

    Returns:
        The metrics, which are also written to metrics.json.

    Raises:
        UserError: If something is wrong that the user can fix.
    """
    screen = screen or Silent()
    corpus, name, split = _rows(prompts, benchmark)
    corpus = corpus.select(languages, limit)
    chosen_judge: Judge = find("judges", judge)()
    chosen_attack: Attack = find("attacks", attack)()
    others = {name: _read_defence(name) for name in defences}
    screen.title(f"Loading {target}")
    opened = open_target(
        target,
        model=model,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        revision=revision,
        say=lambda text: screen.say(f"  {text}"),
    )
    measured = list_defences(opened, others)
    codes = corpus.languages
    folder = Path(output) if output is not None else default_folder(target, name, chosen_attack.name)
    facts = {"prompts_sha256": corpus.digest, "model_fingerprint": opened.chat.weights}
    open_folder(folder, "evaluation", facts if attack == "none" else facts | {"attack": attack})
    local = LocalModel(opened.chat, batch_size, folder / "batch_size.json")
    bench = Bench(local, chosen_judge, folder)
    if silent := chosen_judge.unsupported(codes):
        named = ", ".join(map(display_name, silent))
        screen.say(f"The judge '{judge}' does not support {named}; no rates will be shown there.")
    screen.title(f"{len(corpus.rows)} prompts in {len(codes)} languages, {len(measured)} defences")
    asked = attacked(questions(corpus, codes, split), chosen_attack)
    scored: list[ScoredReply] = []
    for defence in measured:
        with screen.progress(f"{defence.name}: replies") as (tick, _):
            scored += bench.ask(defence, asked, tokens=reply_tokens, tick=tick)
    trained = opened.prompt.training.get("languages", ()) if opened.prompt is not None else ()
    metrics = compute_metrics(
        scored,
        model=opened.chat.name,
        benchmark=name,
        split=split,
        judge=chosen_judge.name,
        attack=chosen_attack.name,
        trained=tuple(trained),
    )
    table = outcome_table(metrics)
    screen.show(to_terminal(table))
    write_text(folder / "report.md", to_markdown(table))
    write_text(folder / "metrics.json", metrics.model_dump_json(indent=2) + "\n")
    screen.say(f"Written to {folder / 'report.md'} and {folder / 'metrics.json'}")
    return metrics


def _rows(prompts: Path | str | None, benchmark: str | None) -> tuple[Corpus, str, str]:
    """Load the requests. Returns them with the name and the split for tables."""
    path = None if prompts is None else Path(prompts)
    if benchmark is not None:
        found: Benchmark = find("benchmarks", benchmark)()
        return found.load(path), found.name, found.split
    if path is None:
        raise UserError(
            f"There is nothing to measure on; set `prompts` or `benchmark` ({', '.join(names('benchmarks'))})."
        )
    return load_prompts(path), path.stem, "user"


def _read_defence(name: str) -> SafetyPrompt | None:
    """Read the safety prompt that `name` refers to. None if it is the name of a registered defence."""
    if name in names("defences"):
        return None
    found = read_prompt(name)
    if found is None:
        listed = ", ".join(names("defences"))
        raise UserError(
            f"There is no defence '{name}'; use {listed}, the folder of a run, or the folder or hub id of a safety prompt."
        )
    return found[0]


def list_defences(opened: OpenedTarget, others: dict[str, SafetyPrompt | None]) -> list[Defence]:
    """List the defences to measure: baselines first, then the target, then other prompts.

    Args:
        opened: The target.
        others: From `_read_defence`, by the name given by the user.

    Raises:
        UserError: If a defence occurs twice, or does not fit the model.
    """
    chat, prompt = opened.chat, opened.prompt
    found: list[Defence] = []
    if "none" in others or prompt is None:
        found.append(find("defences", "none").for_model(chat))
    if "written" in others and prompt is not None:
        if prompt.name == "written":
            raise UserError("The target is the written prompt; remove 'written' from `defences`.")
        # The baseline of the run, so that both tables agree.
        text = prompt.training.get("written") or prompt.training.get("start") or prompt_text("medium")
        found.append(WrittenDefence.from_text("written", text, chat.tokenizer))
    for name, other in others.items():
        if other is None and name != "none" and not (name == "written" and prompt is not None):
            found.append(find("defences", name).for_model(chat))
    if prompt is not None:
        found.append(SoftDefence.from_prompt(prompt, chat.tokenizer))
    for other in others.values():
        if other is not None:
            other.check(chat.model, chat.tokenizer)
            found.append(SoftDefence.from_prompt(other, chat.tokenizer))
    named = [(defence.name, defence.seed) for defence in found]
    if len(set(named)) < len(named):
        raise UserError("Two of the defences have the same name and seed and would share a column; leave one out.")
    return found


def default_folder(target: str, name: str, attack: str) -> Path:
    """Return the default folder of an evaluation."""
    path = Path(target)
    is_run = path.is_dir() and (path / "config.json").exists() and (path / "safety_prompt").exists()
    folder = path / "evaluations" if is_run else Path("evaluations") / path.name
    return folder / (name if attack == "none" else f"{name}-{attack}")
