"""Measure a target on a file of prompts or a benchmark, and compare it with other defences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from babelguard.attacks import Attack, apply_attack
from babelguard.config.lists import as_list
from babelguard.corpus.reading import PromptOptions
from babelguard.endpoint.address import is_url
from babelguard.errors import UserError
from babelguard.evaluation.bench import Bench
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Metrics, ScoredReply
from babelguard.files import locked, write_text
from babelguard.jobs.local_subject import LocalSubject
from babelguard.jobs.requests import load_requests
from babelguard.jobs.run_folder import open_folder
from babelguard.jobs.served_subject import PATIENCE, TIMEOUT, ServedSubject
from babelguard.judges import JudgeOptions
from babelguard.judges.base import identity_of, title_of
from babelguard.judges.create import create_judge
from babelguard.languages import display_name
from babelguard.registry import create
from babelguard.report.markdown import to_markdown
from babelguard.report.table import outcome_table
from babelguard.report.terminal import to_terminal
from babelguard.screen import Screen, Silent
from babelguard.targets.endpoint import CONCURRENCY


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
    model: str | Sequence[str] | None = None,
    languages: str | Sequence[str] | None = None,
    limit: int | None = None,
    reply_tokens: int = 32,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    tokenizer: str | None = None,
    concurrency: int | None = None,
    timeout: float | None = None,
    patience: float | None = None,
    output: Path | str | None = None,
    screen: Screen | None = None,
) -> Metrics:
    """Measure attack success and false refusal per language, for a target and the defences it is compared with.

    Args:
        target: A run folder, a safety prompt's folder or hub id, a model (measured without a prompt), or the URL of an
            OpenAI-compatible server (docs/scale.md).
        prompts: One or several files of prompts: CSV, TSV, JSON, JSONL, Parquet, or plain text with one prompt per line.
            Common files are recognised by their columns (docs/corpus.md).
        columns: Column of the prompts by language, such as `{"en": "goal"}`; also `id`, and `text` and `language` for a
            file with one row per language. Indonesian is `id-ID`.
        label: `harmful` or `harmless`, for the whole file; or a list with one label per file.
        label_column: Column of the labels.
        harmful: Harmful values of the label column; `*` matches any text. All other values are harmless.
        benchmark: Name of a benchmark. If `prompts` is also given, the benchmark reads that file.
        defences: Other defences to measure: `none`, `written`, another registered name, or another run or prompt of the
            same base model. With a URL: `written`.
        attack: Name of an attack that rewrites the requests.
        judge: Name of the judge.
        judge_model: Model of a judge that asks a language model: its name at `judge_url`, a folder or a hub id.
        judge_url: OpenAI-compatible endpoint of such a judge.
        model: The base model, if it is not at the location recorded in the run. With a URL: the name of the model at the
            server, or several names to compare. Default: the only model that the server lists.
        languages: Languages to use; default: all.
        limit: Rows per label.
        reply_tokens: Maximum length of an English reply in tokens. Languages that need more tokens for the same text get up to
            4 times as many.
        device: See `babelguard.models.devices.choose_device`.
        dtype: See `babelguard.models.devices.choose_dtype`.
        batch_size: Replies generated together.
        revision: Revision of a hub model.
        trust_remote_code: Allow model code from the hub to run.
        tokenizer: With a URL: folder or hub id of the tokenizer of the served model, from which the lengths of replies by
            language are computed. Without it, they are estimated.
        concurrency: With a URL: number of parallel requests; default: 8.
        timeout: With a URL: seconds without data before a request is considered lost; default: 120.
        patience: With a URL: seconds to wait for a server that is away or too busy; default: 300.
        output: Folder of the results; default: RUN/evaluations/<name>, or evaluations/<target or model>/<name>.
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
    subject: LocalSubject | ServedSubject
    # The path of a model may contain a comma.
    models = (model,) if isinstance(model, str) else tuple(model or ())
    others = tuple(as_list(defences) or ())
    if is_url(target):
        _unused({"batch_size": batch_size, "revision": revision, "trust_remote_code": trust_remote_code}, "a URL")
        subject = ServedSubject(
            target,
            others,
            models=models,
            tokenizer=tokenizer,
            concurrency=concurrency or CONCURRENCY,
            timeout=timeout or TIMEOUT,
            patience=PATIENCE if patience is None else patience,
            screen=screen,
        )
    else:
        _unused(
            {"tokenizer": tokenizer, "concurrency": concurrency, "timeout": timeout, "patience": patience},
            "a model in this process",
        )
        if len(models) > 1:
            raise UserError("A run has one base model; give `model` once.")
        screen.title(f"Loading {target}")
        subject = LocalSubject(
            target,
            others,
            model=models[0] if models else None,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            revision=revision,
            batch_size=batch_size,
            say=screen.say,
        )
    changed = [given for given, default in ((attack, "none"), (judge, "default")) if given != default]
    folder = Path(output) if output is not None else subject.folder / "-".join([requests.name, *changed])
    facts = {
        "prompts_sha256": corpus.digest,
        **subject.facts(codes, reply_tokens),
        "attack": attack,
        "judge": identity_of(chosen_judge),
        "reply_tokens": str(reply_tokens),
    }
    with locked(folder):
        open_folder(folder, "evaluation", facts)
        requests.write(folder)
        bench = Bench(subject.target(folder), chosen_judge, folder)
        if silent := chosen_judge.unsupported(codes):
            named = ", ".join(map(display_name, silent))
            screen.say(f"The judge '{judge}' does not support {named}; no rates will be shown there.")
        screen.title(f"{len(corpus.rows)} prompts in {len(codes)} languages, {len(subject.defences)} defences")
        asked = apply_attack(requests.questions, chosen_attack)
        budgets = subject.budgets(codes, reply_tokens)
        scored: list[ScoredReply] = []
        for defence in subject.defences:
            with screen.progress(f"{defence.name}: replies") as (tick, _):
                scored += bench.ask(defence, asked, tokens=budgets, tick=tick)
        metrics = compute_metrics(
            scored,
            model=subject.name,
            benchmark=requests.name,
            split=requests.split,
            judge=title_of(chosen_judge),
            attack=chosen_attack.name,
            trained=subject.trained,
        )
        table = outcome_table(metrics)
        # The files first: the terminal may be gone.
        write_text(folder / "report.md", to_markdown(table))
        write_text(folder / "metrics.json", metrics.model_dump_json(indent=2) + "\n")
        screen.show(to_terminal(table))
        screen.say(f"Written to {folder / 'report.md'} and {folder / 'metrics.json'}")
        return metrics


def _unused(given: dict[str, object], where: str) -> None:
    """Check that no setting is given that has no effect.

    Raises:
        UserError: If one is.
    """
    if names := [f"`{name}`" for name, value in given.items() if value]:
        raise UserError(
            f"{' and '.join(names)} cannot be used with {where}; remove {'it' if len(names) == 1 else 'them'}."
        )
