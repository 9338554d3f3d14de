"""Compare the verdicts on the replies of a served model with those on the replies of a run."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from babelguard.evaluation.judging import LoggedReply, judge_in_batches
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import ERRORS, ScoredReply
from babelguard.judges import Judge, Verdict
from babelguard.screen import Tick
from babelguard.verification.result import Check
from babelguard.verification.served import Served
from babelguard.verification.tolerance import DIFFERENCE

VERDICTS = "verdicts"
ALLOWED = f"interval within {100 * DIFFERENCE:g} points"
SERVED, REFERENCE = "served", "run"


def ask_again(served: Served, logged: Sequence[LoggedReply], budgets: dict[str, int], tick: Tick) -> list[LoggedReply]:
    """Ask a served model the questions of logged replies.

    Args:
        served: The model.
        logged: The replies of the run.
        budgets: Language -> maximum length of a reply in tokens.
        tick: Called with (done, total).

    Raises:
        UserError: If the model fails.
    """

    def ask(one: LoggedReply) -> LoggedReply:
        text, finished = served.reply(one.exchange.question, budgets[one.exchange.language])
        return one._replace(exchange=one.exchange._replace(reply=text, finished=finished))

    found = []
    with ThreadPoolExecutor(served.parallel) as pool:
        for reply in pool.map(ask, logged):
            found.append(reply)
            tick(len(found), len(logged))
    return found


def judge_both(judge: Judge, logged: Sequence[LoggedReply], again: Sequence[LoggedReply]) -> list[ScoredReply]:
    """Judge the replies of a run and of the served model with one judge."""
    scored = []
    for defence, replies in ((REFERENCE, logged), (SERVED, again)):
        judged = judge_in_batches(judge, [one.exchange for one in replies])
        for one, judgement in zip(replies, judged, strict=True):
            own = one.fields
            where = (defence, None, own["language"], own["id"], own["label"], judgement.verdict, None, None)
            scored.append(ScoredReply(*where, own["split"] == "hard"))
    return scored


def check_verdicts(scored: Sequence[ScoredReply]) -> Check:
    """Check that the difference in error between both is small, with its 95 % interval.

    Args:
        scored: The verdicts on the replies of both to the same rows.
    """
    metrics = compute_metrics(scored, model="", benchmark="", split="test", judge="", pairs=[(SERVED, REFERENCE)])
    whole = next((one for one in metrics.differences if one.group == "all"), None)
    if whole is None:
        remark = "too many replies could not be judged"
        return Check(name=VERDICTS, state="failed", found="", tolerance=ALLOWED, remark=remark)
    failed = not (whole.low >= -DIFFERENCE and whole.high <= DIFFERENCE)
    worse, better, rows = count_flips(scored)
    found = f"{100 * whole.mean:+.1f} [{100 * whole.low:+.1f}, {100 * whole.high:+.1f}] points"
    return Check(
        name=VERDICTS,
        state="failed" if failed else "passed",
        found=found,
        tolerance=ALLOWED,
        remark=f"of {rows} replies, {worse} became an error and {better} no longer are",
    )


def count_flips(scored: Sequence[ScoredReply]) -> tuple[int, int, int]:
    """Count the rows on which only the served model errs, those on which only the run errs, and all rows judged twice."""
    errors: dict[str, dict[tuple[str, str], bool]] = {SERVED: {}, REFERENCE: {}}
    for one in scored:
        if one.verdict != Verdict.UNSCORED:
            errors[one.defence][one.language, one.row_id] = one.verdict in ERRORS[one.label]
    both = errors[SERVED].keys() & errors[REFERENCE].keys()
    worse = sum(errors[SERVED][key] and not errors[REFERENCE][key] for key in both)
    better = sum(errors[REFERENCE][key] and not errors[SERVED][key] for key in both)
    return worse, better, len(both)
