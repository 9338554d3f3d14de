"""Measure any target on any file of prompts, against other defences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from babelguard.corpus import load_prompts
from babelguard.defence import Defence, written_defence
from babelguard.errors import UserError
from babelguard.evaluation.measure import Bench, questions
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Metrics, ScoredReply
from babelguard.evaluation.tables import markdown, sheet, terminal
from babelguard.languages import display_name
from babelguard.run_folder import open_folder, write_text
from babelguard.safety_prompt import SafetyPrompt
from babelguard.screen import Screen, Silent
from babelguard.target import Target, open_target, read_prompt
from babelguard.written import prompt_text


def evaluate(
    target: str,
    prompts: Path | str,
    *,
    defences: Sequence[str] = (),
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
    """Count harmful answered and harmless refused, per language, for a target and for the defences it is compared with.

    Args:
        target: A run folder, a prompt's folder or a model (measured without a prompt).
        prompts: CSV or JSONL with `id`, `label` and a column per language code.
        defences: `none`, `written`, or another run or prompt of the same base model.
        model: The base model, where it lies elsewhere.
        languages: Columns to use; default: all.
        limit: Rows per label.
        reply_tokens: Tokens of a reply.
        device: See `load_chat_model`.
        dtype: See `load_chat_model`.
        batch_size: Replies at a time.
        revision: Of a hub model.
        trust_remote_code: Run the hub model's own code.
        output: Folder of the log; default: RUN/evaluations/<file>, or evaluations/<target>/<file>.
        screen: Shows what is going on; silent without one.

    Raises:
        UserError: one sentence for whatever the user can mend.
    """
    screen = screen or Silent()
    corpus = load_prompts(Path(prompts)).select(languages, limit)
    others = []
    for name in defences:
        if name in ("none", "written"):
            continue
        found = read_prompt(name)
        if found is None:
            raise UserError(
                f"The defence '{name}' is neither none, nor written, nor a run's folder, nor a safety prompt's folder or hub id."
            )
        others.append(found[0])
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
    measured = list_defences(opened, defences, others)
    codes = corpus.languages
    folder = Path(output) if output is not None else default_folder(target, Path(prompts))
    facts = {"prompts_sha256": corpus.digest, "model_fingerprint": opened.chat.weights}
    open_folder(folder, "evaluation", facts)
    bench = Bench(opened.chat, folder, batch_size=batch_size or 32)
    if silent := bench.judge.unknown(codes):
        named = ", ".join(map(display_name, silent))
        screen.say(f"No rates will be shown for {named}: there are no patterns of refusals in them.")
    screen.title(f"{len(corpus.rows)} prompts in {len(codes)} languages, {len(measured)} defences")
    asked = questions(corpus, codes, "user")
    scored: list[ScoredReply] = []
    for defence in measured:
        with screen.progress(f"{defence.name}: replies") as (tick, _):
            scored += bench.ask(defence, asked, tokens=reply_tokens, tick=tick)
    trained = opened.prompt.training.get("languages", ()) if opened.prompt is not None else ()
    metrics = compute_metrics(
        scored,
        model=opened.chat.name,
        benchmark=Path(prompts).stem,
        split="user",
        judge=bench.judge.name,
        trained=tuple(trained),
    )
    screen.show(terminal(sheet(metrics)))
    write_text(folder / "report.md", markdown(sheet(metrics)))
    write_text(folder / "metrics.json", metrics.model_dump_json(indent=2) + "\n")
    screen.say(f"Made  {folder / 'report.md'}  {folder / 'metrics.json'}")
    return metrics


def list_defences(opened: Target, names: Sequence[str], others: Sequence[SafetyPrompt]) -> list[Defence]:
    """The baselines first, then the target, then the other runs; every name once."""
    tokenizer = opened.chat.tokenizer
    found: list[Defence] = []
    if "none" in names or opened.prompt is None:
        found.append(Defence("none"))
    if "written" in names and opened.prompt is not None and opened.prompt.name == "written":
        raise UserError("The target is the written prompt already; leave --defence written out.")
    if "written" in names:
        # The text that the run was compared with, so that both tables show the same.
        facts = opened.prompt.training if opened.prompt is not None else {}
        text = facts.get("written") or facts.get("start") or prompt_text("medium")
        found.append(written_defence("written", text, tokenizer))
    if opened.prompt is not None:
        found.append(opened.prompt.defence(tokenizer))
    for prompt in others:
        prompt.check(opened.chat.model, tokenizer)
        found.append(prompt.defence(tokenizer))
    named = [(defence.name, defence.seed) for defence in found]
    if len(set(named)) < len(named):
        raise UserError(
            "Two of the defences have the same name and seed, so a table could not tell them apart; leave one out."
        )
    return found


def default_folder(target: str, prompts: Path) -> Path:
    """Where an evaluation is written if the user names no folder."""
    path = Path(target)
    is_run = path.is_dir() and (path / "config.json").exists() and (path / "safety_prompt").exists()
    return (path / "evaluations" if is_run else Path("evaluations") / path.name) / prompts.stem
