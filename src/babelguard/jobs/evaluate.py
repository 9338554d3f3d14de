"""Measure a target on a file of prompts or a benchmark, and compare it with other defences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from babelguard.attacks import Attack, apply_attack
from babelguard.config.lists import as_list
from babelguard.corpus.reading import PromptOptions
from babelguard.defences import Defence, SoftDefence, WrittenDefence
from babelguard.defences.written import prompt_text
from babelguard.errors import UserError
from babelguard.evaluation.bench import Bench
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Metrics, ScoredReply
from babelguard.evaluation.reply_length import reply_budgets
from babelguard.files import locked, write_text
from babelguard.jobs.open_target import OpenedTarget, open_target, read_prompt
from babelguard.jobs.requests import load_requests
from babelguard.jobs.run_folder import open_folder
from babelguard.judges import JudgeOptions
from babelguard.judges.base import identity_of, title_of
from babelguard.judges.create import create_judge
from babelguard.languages import display_name
from babelguard.models.gguf import Say
from babelguard.prompt import SafetyPrompt
from babelguard.registry import create, names
from babelguard.report.markdown import to_markdown
from babelguard.report.table import outcome_table
from babelguard.report.terminal import to_terminal
from babelguard.screen import Screen, Silent
from babelguard.targets import LocalModel


def evaluate(
    target: str,
    prompts: Path | str | Sequence[Path | str] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    label: str | Sequence[str] | None = None,
    label_column: str | None = None,
    harmful: str | Sequence[str] = (),
    benchmark: str | None = None,
    defences: str | Sequence[str] = (),
    attack: str = "none",
    judge: str = "default",
    judge_model: str | None = None,
    judge_url: str | None = None,
    model: str | None = None,
    languages: str | Sequence[str] | None = None,
    limit: int | None = None,
    reply_tokens: int = 32,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    output: Path | str | None = None,
    screen: Screen | None = None,
) -> Metrics:
    """Measure attack success and false refusal per language, for a target and the defences it is compared with.

    Args:
        target: A run folder, a safety prompt's folder or hub id, or a model (measured without a prompt).
        prompts: One or several files of prompts: CSV, TSV, JSON, JSONL, Parquet, or plain text with one prompt per line.
            Common files are recognised by their columns (docs/corpus.md).
        columns: Column of the prompts by language, such as `{"en": "goal"}`; also `id`, and `text` and `language` for a
            file with one row per language. Indonesian is `id-ID`.
        label: `harmful` or `harmless`, for the whole file; or a list with one label per file.
        label_column: Column of the labels.
        harmful: Harmful values of the label column; `*` matches any text. All other values are harmless.
        benchmark: Name of a benchmark. If `prompts` is also given, the benchmark reads that file.
        defences: Other defences to measure: `none`, `written`, another registered name, or another run or prompt of the
            same base model.
        attack: Name of an attack that rewrites the requests.
        judge: Name of the judge.
        judge_model: Model of a judge that asks a language model: its name at `judge_url`, a folder or a hub id.
        judge_url: OpenAI-compatible endpoint of such a judge.
        model: The base model, if it is not at the location recorded in the run.
        languages: Languages to use; default: all.
        limit: Rows per label.
        reply_tokens: Maximum length of an English reply in tokens. Languages that need more tokens for the same text get up to
            4 times as many.
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
        UserError: If the target, the requests, a defence, the judge, the attack or the output folder cannot be used.
    """
    screen = screen or Silent()
    options = PromptOptions.of(columns, label, label_column, harmful)
    requests = load_requests(prompts, benchmark, options, as_list(languages), limit, screen)
    corpus, codes = requests.corpus, requests.languages
    chosen_judge = create_judge(judge, JudgeOptions(judge_model, judge_url, device, dtype))
    chosen_attack: Attack = create("attacks", attack)
    others = {name: _read_defence(name) for name in as_list(defences) or ()}
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
    measured = list_defences(opened, others, screen.say)
    folder = Path(output) if output is not None else default_folder(target, requests.name, attack, judge)
    facts = {
        "prompts_sha256": corpus.digest,
        "model_fingerprint": opened.chat.weights,
        "attack": attack,
        "judge": identity_of(chosen_judge),
        "reply_tokens": str(reply_tokens),
    }
    with locked(folder):
        open_folder(folder, "evaluation", facts)
        requests.write(folder)
        local = LocalModel(opened.chat, batch_size, folder / "batch_size.json")
        bench = Bench(local, chosen_judge, folder)
        if silent := chosen_judge.unsupported(codes):
            named = ", ".join(map(display_name, silent))
            screen.say(f"The judge '{judge}' does not support {named}; no rates will be shown there.")
        screen.title(f"{len(corpus.rows)} prompts in {len(codes)} languages, {len(measured)} defences")
        asked = apply_attack(requests.questions, chosen_attack)
        budgets = reply_budgets(opened.chat.tokenizer, codes, reply_tokens)
        scored: list[ScoredReply] = []
        for defence in measured:
            with screen.progress(f"{defence.name}: replies") as (tick, _):
                scored += bench.ask(defence, asked, tokens=budgets, tick=tick)
        trained = opened.prompt.training.get("languages", ()) if opened.prompt is not None else ()
        metrics = compute_metrics(
            scored,
            model=opened.chat.name,
            benchmark=requests.name,
            split=requests.split,
            judge=title_of(chosen_judge),
            attack=chosen_attack.name,
            trained=tuple(trained),
        )
        table = outcome_table(metrics)
        # The files first: the terminal may be gone.
        write_text(folder / "report.md", to_markdown(table))
        write_text(folder / "metrics.json", metrics.model_dump_json(indent=2) + "\n")
        screen.show(to_terminal(table))
        screen.say(f"Written to {folder / 'report.md'} and {folder / 'metrics.json'}")
        return metrics


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


def list_defences(opened: OpenedTarget, others: dict[str, SafetyPrompt | None], say: Say) -> list[Defence]:
    """List the defences to measure: baselines first, then the target, then other prompts.

    Args:
        opened: The target.
        others: From `_read_defence`, by the name given by the user.
        say: See `SafetyPrompt.check`.

    Raises:
        UserError: If a defence occurs twice, or does not fit the model.
    """
    chat, prompt = opened.chat, opened.prompt
    found: list[Defence] = []
    if "none" in others or prompt is None:
        found.append(create("defences", "none", chat))
    if "written" in others and prompt is not None:
        if prompt.name == "written":
            raise UserError("The target is the written prompt itself; remove 'written' from `defences`.")
        # The baseline of the run, so that both tables agree.
        text = prompt.training.get("written") or prompt.training.get("start") or prompt_text("medium")
        found.append(WrittenDefence.from_text("written", text, chat.tokenizer))
    for name, other in others.items():
        if other is None and name != "none" and not (name == "written" and prompt is not None):
            found.append(create("defences", name, chat))
    if prompt is not None:
        found.append(SoftDefence.from_prompt(prompt, chat.tokenizer))
    for other in others.values():
        if other is not None:
            other.check(chat.model, chat.tokenizer, say)
            found.append(SoftDefence.from_prompt(other, chat.tokenizer))
    named = [(defence.name, defence.seed) for defence in found]
    if len(set(named)) < len(named):
        raise UserError("Two of the defences have the same name and seed; remove one of them from `defences`.")
    return found


def default_folder(target: str, name: str, attack: str = "none", judge: str = "default") -> Path:
    """Return the default folder of an evaluation."""
    path = Path(target)
    is_run = path.is_dir() and (path / "config.json").exists() and (path / "safety_prompt").exists()
    folder = path / "evaluations" if is_run else Path("evaluations") / path.name
    changed = [given for given, default in ((attack, "none"), (judge, "default")) if given != default]
    return folder / "-".join([name, *changed])
