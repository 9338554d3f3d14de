"""Judge the logged replies of a run or an evaluation again, without the model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from babelguard.config.lists import as_list
from babelguard.errors import UserError
from babelguard.evaluation.corrected_rate import JudgeErrors, corrected_rate, judge_errors
from babelguard.evaluation.judge_quality import Agreement, Judged, agreement
from babelguard.evaluation.judging import LoggedReply, needs_question, score, unsupported, verdicts_path
from babelguard.evaluation.log_rows import VerdictRow
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import MEASURES, Metrics, ScoredReply
from babelguard.files import JsonlLog, locked, write_text
from babelguard.jobs.logged_replies import LoggedRun, read_logged_run
from babelguard.judges import Judge, JudgeOptions
from babelguard.judges.base import Label, Verdict, title_of
from babelguard.judges.create import create_judge
from babelguard.judges.labelled import labelled_replies
from babelguard.languages import display_name
from babelguard.report.judge_tables import AgreementRow, CorrectedRow, JudgeTable, agreement_table, corrected_table
from babelguard.report.markdown import to_markdown
from babelguard.report.table import outcome_table
from babelguard.report.terminal import to_terminal
from babelguard.screen import Screen, Silent

# language -> the labelled replies in it: the label of the request, the true verdict and the verdict of the judge
Checked = dict[str, list[tuple[Label, Judged]]]


class JudgedRun(NamedTuple):
    """The results under one judge.

    Attributes:
        judge: Name of the judge.
        version: Its version.
        metrics: The metrics under this judge.
        corrected: The rates corrected for the errors of the judge. Empty if they were not asked for.
    """

    judge: str
    version: str
    metrics: Metrics
    corrected: tuple[CorrectedRow, ...] = ()


class JudgedRuns(NamedTuple):
    """The results of all judges, and how well they agree, if that was asked for."""

    judges: tuple[JudgedRun, ...]
    agreement: tuple[AgreementRow, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the content of the JSON output."""
        judges = [
            {
                "judge": one.judge,
                "version": one.version,
                "metrics": one.metrics.model_dump(mode="json"),
                "corrected": [row.model_dump(mode="json") for row in one.corrected],
            }
            for one in self.judges
        ]
        return {"judges": judges, "agreement": [row.model_dump(mode="json") for row in self.agreement]}


def judge_run(
    folder: Path | str,
    judges: str | Sequence[str] = "default",
    *,
    judge_model: str | None = None,
    judge_url: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    agreement: bool = False,
    correct: bool = False,
    screen: Screen | None = None,
) -> JudgedRuns:
    """Judge the logged replies of a run or an evaluation again.

    Verdicts are appended to verdicts.<judge>.jsonl, and verdicts that it holds are reused. The table is written to
    report.<judge>.md and the metrics to metrics.<judge>.json. No other file is changed.

    Args:
        folder: A run folder or an evaluation folder.
        judges: Names of the judges.
        judge_model: Model of judges that ask a language model: its name at `judge_url`, a folder or a hub id.
        judge_url: OpenAI-compatible endpoint of such a judge.
        device: Device of such a judge.
        dtype: Data type of such a judge.
        agreement: Measure the agreement of every pair of judges.
        correct: Correct the rates for the errors that each judge makes on the held-out labelled replies.
        screen: Shows progress and tables. Nothing is shown by default.

    Raises:
        UserError: If the folder or a judge cannot be used.
    """
    screen = screen or Silent()
    names = list(dict.fromkeys(as_list(judges) or ()))
    if agreement and len(names) < 2:
        raise UserError("The agreement is measured between two judges; give `judges` at least twice.")
    options = JudgeOptions(judge_model, judge_url, device, dtype)
    chosen = [create_judge(name, options) for name in names]
    run = read_logged_run(Path(folder))
    with locked(run.folder):
        return _judge(run, chosen, agreement, correct, screen)


def _judge(run: LoggedRun, chosen: Sequence[Judge], agreement: bool, correct: bool, screen: Screen) -> JudgedRuns:
    for remark in run.remarks:
        screen.say(remark)
    for judge in chosen:
        _check_questions(run, judge, screen)
    scored: dict[str, list[ScoredReply]] = {}
    found = []
    for judge in chosen:
        scored[judge.name] = _score(judge, judge.name, run.folder, run.replies, screen)
        found.append(_report(run, judge, scored[judge.name], correct, screen))
    compared = _agreements(scored) if agreement else ()
    if compared:
        screen.show(agreement_table(compared).to_terminal())
    return JudgedRuns(tuple(found), compared)


def _check_questions(run: LoggedRun, judge: Judge, screen: Screen) -> None:
    """Check that a judge can judge replies that were logged without their questions.

    Raises:
        UserError: If it cannot.
    """
    count = sum(not one.exchange.question for one in run.replies)
    if count and needs_question(judge):
        raise UserError(
            f"An older version logged {count} of the replies in {run.folder} without their questions, which the judge "
            f"'{judge.name}' needs; use the judge 'patterns', or measure again into another folder."
        )
    if count:
        screen.say(
            f"{count} replies are judged by '{judge.name}' without their questions, which an older version did not log."
        )
    if silent := unsupported(judge, (one.exchange.language for one in run.replies)):
        named = ", ".join(map(display_name, silent))
        screen.say(f"The judge '{judge.name}' does not support {named}; no rates will be shown there.")


def _score(
    judge: Judge, what: str, folder: Path, replies: Sequence[LoggedReply], screen: Screen, name: str | None = None
) -> list[ScoredReply]:
    verdicts = JsonlLog(verdicts_path(folder, name or judge.name), VerdictRow)
    with screen.progress(f"{what}: verdicts") as (tick, _):
        return score(judge, verdicts, replies, tick)


def _report(run: LoggedRun, judge: Judge, scored: Sequence[ScoredReply], correct: bool, screen: Screen) -> JudgedRun:
    metrics = compute_metrics(
        scored,
        model=run.model,
        benchmark=run.benchmark,
        split=run.split,
        judge=title_of(judge),
        attack=run.attack,
        trained=run.trained,
    )
    table = outcome_table(metrics)
    shown, text = [to_terminal(table)], to_markdown(table)
    rows: tuple[CorrectedRow, ...] = ()
    if correct:
        rows = _corrected(run, judge, metrics, screen)
        corrected: JudgeTable = corrected_table(title_of(judge), rows)
        shown.append(corrected.to_terminal())
        text += "\n" + corrected.to_markdown()
    report, data = run.folder / f"report.{judge.name}.md", run.folder / f"metrics.{judge.name}.json"
    write_text(report, text)
    write_text(data, metrics.model_dump_json(indent=2) + "\n")
    for part in shown:
        screen.show(part)
    screen.say(f"Written to {report} and {data}")
    return JudgedRun(judge.name, judge.version, metrics, rows)


def _corrected(run: LoggedRun, judge: Judge, metrics: Metrics, screen: Screen) -> tuple[CorrectedRow, ...]:
    checked = _check_judge(run, judge, screen)
    rows = []
    for row in metrics.rows:
        for label, measure in MEASURES.items():
            cell = getattr(row, measure)
            if not cell.n:
                continue
            errors: JudgeErrors = judge_errors(checked.get(row.language, ()), label)
            fixed = None if cell.rate is None else corrected_rate(cell.k, cell.scored, errors)
            rows.append(CorrectedRow.of(row, measure, errors, fixed))
    return tuple(rows)


def _check_judge(run: LoggedRun, judge: Judge, screen: Screen) -> Checked:
    """Judge the held-out labelled replies in the languages of the run. The verdicts are logged beside those of the run."""
    known = labelled_replies("held", {one.exchange.language for one in run.replies})
    asked = []
    for one in known:
        content = hashlib.sha256(repr(one.exchange).encode("utf-8", "surrogatepass")).hexdigest()[:24]
        place = {"key": content, "defence": "none", "seed": None, "split": one.part, "language": one.language}
        asked.append(LoggedReply(place | {"id": one.id, "label": one.label}, one.exchange))
    scored = _score(judge, f"{judge.name}, labelled replies", run.folder, asked, screen, f"labelled.{judge.name}")
    checked: Checked = {}
    for reply, verdict in zip(known, scored, strict=True):
        if reply.label is not None:
            pair = (reply.label, Judged(reply.verdict, Verdict(verdict.verdict)))
            checked.setdefault(reply.language, []).append(pair)
    return checked


def _agreements(scored: dict[str, list[ScoredReply]]) -> tuple[AgreementRow, ...]:
    """Return the agreement of every pair of judges per language, then over all languages."""
    rows = []
    languages = list(dict.fromkeys(reply.language for replies in scored.values() for reply in replies))
    for a, b in combinations(scored, 2):
        for language in (*languages, "all"):
            verdicts = [
                [reply.verdict for reply in scored[name] if language in (reply.language, "all")] for name in (a, b)
            ]
            found: Agreement = agreement(*verdicts)
            rows.append(AgreementRow(a=a, b=b, language=language, **found.model_dump()))
    return tuple(rows)
