"""Read the replies that a run or an evaluation reports on from its logs, without the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from babelguard.errors import UserError
from babelguard.evaluation.judging import GENERATIONS, HARD, LoggedReply
from babelguard.evaluation.log_rows import ReplyRow, VerdictRow
from babelguard.files import JsonlLog, read_record
from babelguard.jobs.run_files import METRICS, Facts, ReportedMetrics, ReportedRow, RunConfig, read_run_config
from babelguard.jobs.run_folder import RunFolder
from babelguard.judges import Exchange

# No command but the one that made the replies can make them again, and it skips a run that has its metrics.
_MAKE_AGAIN = (
    "delete metrics.json, run the command that made this folder again to make the reply again, and then judge it"
)

# A defence with its seed, and a language.
Place = tuple[str, int | None, str]


@dataclass(frozen=True)
class LoggedRun:
    """The logged replies of a run or an evaluation, and what its tables say about them.

    Attributes:
        folder: The folder.
        replies: The replies that are reported, by defence and language, in the order of metrics.json. All defences have the
            same rows in a language.
        model: Name of the model.
        benchmark: Name of the benchmark or of the file of prompts.
        split: Name of the split.
        attack: Name of the attack.
        trained: The languages that the prompt was trained on.
        remarks: What a reader of the tables should know, one sentence each.
    """

    folder: Path
    replies: tuple[LoggedReply, ...]
    model: str
    benchmark: str
    split: str
    attack: str
    trained: tuple[str, ...]
    remarks: tuple[str, ...]


def read_logged_run(folder: Path) -> LoggedRun:
    """Read the logged replies of a run folder or of an evaluation folder.

    If there is a metrics.json, the replies are those of its defences and languages. Otherwise the run is not complete, and
    they are all test replies of a run or all replies of an evaluation.

    Raises:
        UserError: If the folder is not one of a run or an evaluation, it has no replies, or a file is damaged.
    """
    settings = read_run_config(folder)
    facts = read_record(folder / "evaluation.json", Facts, "restore it, or give another folder")
    log = folder / GENERATIONS
    if not log.is_file() or not (settings or facts):
        missing = GENERATIONS if not log.is_file() else "config.json or evaluation.json"
        raise UserError(f"There is no {missing} in {folder}; give the folder of a run or of an evaluation.")
    replies_log = JsonlLog(log, ReplyRow, f"delete that line, {_MAKE_AGAIN}")
    logged = [_logged(row) for row in replies_log.rows.values()]
    reported = read_record(folder / METRICS, ReportedMetrics)
    rows = reported.rows if reported is not None else ()
    if rows:
        _check_complete(replies_log)
    first_split = next((one.fields["split"] for one in logged if one.fields["split"] != HARD), "")
    split = rows[0].split if rows else "test" if settings else first_split
    # Hard rows are measured together with the split, and reported apart.
    replies = _latest(_in_order([one for one in logged if one.fields["split"] in (split, HARD)], rows))
    if all(one.fields["split"] == HARD for one in replies):
        raise UserError(f"There are no replies of the split '{split}' in {log}; finish the run first.")
    _check_labels(replies, log)
    kept = _same_rows(replies)
    first = rows[0] if rows else None
    trained = [row.language for row in rows if row.trained] if rows else _trained(folder, settings)
    named = settings.run.get("model") if settings else None
    return LoggedRun(
        folder=folder,
        replies=tuple(kept),
        model=first.model if first else named or folder.resolve().parent.name,
        benchmark=first.benchmark if first else folder.resolve().name,
        split=split,
        attack=first.attack if first else (facts.model_dump().get("attack") if facts else None) or "none",
        trained=tuple(dict.fromkeys(trained)),
        remarks=_remarks(folder, rows, replies, kept),
    )


def _check_complete(log: JsonlLog) -> None:
    """Check that the log of a complete run still has all replies. The key of a verdict begins with the key of its reply.

    Raises:
        UserError: If a reply that was judged before is missing.
    """
    folder = log.path.parent
    for path in sorted(folder.glob("verdicts.*.jsonl")):
        if path.name.startswith("verdicts.labelled."):  # on the replies of the package
            continue
        keys = {key.split("/")[0] for key in JsonlLog(path, VerdictRow).rows}
        if lost := len(keys - log.rows.keys()):
            raise UserError(
                f"{lost} of the replies that were judged in {path} are missing from {log.path}; {_MAKE_AGAIN}."
            )


def _logged(row: dict[str, Any]) -> LoggedReply:
    """Return what is judged of a log line."""
    fields = {name: row[name] for name in ("key", "defence", "seed", "split", "language", "id", "label")}
    exchange = Exchange(row.get("question", ""), row["reply"], row["language"], row["label"], row["finished"])
    return LoggedReply(fields, exchange, row.get("expected"))


def _trained(folder: Path, settings: RunConfig | None) -> tuple[str, ...]:
    """Return the training languages of a run, or of the run that an evaluation folder is in."""
    around = folder.resolve().parent.parent
    in_run = RunFolder(around).prompt.is_dir()
    parent = settings or (read_run_config(around) if in_run else None)
    return parent.data.languages if parent else ()


def _place(row: dict[str, Any]) -> Place:
    return row["defence"], row["seed"], row["language"]


def _in_order(replies: Sequence[LoggedReply], rows: Sequence[ReportedRow]) -> list[LoggedReply]:
    """Sort replies by defence and language, which the log does not. Replies that metrics.json does not report are left out."""
    if rows:
        order: dict[Place, int] = {(row.defence, row.seed, row.language): k for k, row in enumerate(rows)}
    else:
        runs = list(dict.fromkeys(_place(one.fields)[:2] for one in replies))
        codes = sorted({one.exchange.language for one in replies})
        order = {(*run, code): k for k, (run, code) in enumerate(product(runs, codes))}
    return sorted((one for one in replies if _place(one.fields) in order), key=lambda one: order[_place(one.fields)])


def _latest(replies: Sequence[LoggedReply]) -> list[LoggedReply]:
    """Keep the last reply to each row, because the log keeps those of earlier commands."""
    found = {(_place(one.fields), one.fields["split"], one.fields["id"]): one for one in replies}
    return list(found.values())


def _check_labels(replies: Sequence[LoggedReply], path: Path) -> None:
    """Check that a row has the same label in all languages and defences.

    Raises:
        UserError: If it does not.
    """
    labels: dict[str, str] = {}
    for one in replies:
        row, label = one.fields["id"], one.fields["label"]
        if labels.setdefault(row, label) != label:
            raise UserError(
                f"The row '{row}' in {path} is harmful in one line and harmless in another; measure again into another folder."
            )


def _same_rows(replies: Sequence[LoggedReply]) -> list[LoggedReply]:
    """Keep the rows that all defences with replies in a language have, because defences are compared on the same rows."""
    asked: dict[Place, set[str]] = {}
    for one in replies:
        asked.setdefault(_place(one.fields), set()).add(one.fields["id"])
    shared: dict[str, set[str]] = {}
    for (_, _, language), ids in asked.items():
        shared[language] = shared.get(language, ids) & ids
    return [one for one in replies if one.fields["id"] in shared[one.fields["language"]]]


def _remarks(
    folder: Path, rows: Sequence[ReportedRow], replies: Sequence[LoggedReply], kept: Sequence[LoggedReply]
) -> tuple[str, ...]:
    found = []
    if not rows:
        found.append(
            f"There is no metrics.json in {folder}, so the run may not be complete; all logged replies are judged."
        )
    if len(kept) < len(replies):
        found.append(
            f"{len(replies) - len(kept)} replies are left out, because not all defences have a reply to the same row."
        )
    reported = sum(cell.n for row in rows for cell in row.cells)
    if rows and reported != len(kept):
        found.append(
            f"metrics.json counts {reported} replies, and the tables count {len(kept)}: equal requests are logged once, and the "
            "log keeps the replies of earlier commands."
        )
    return tuple(found)
