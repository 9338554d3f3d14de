"""Judge logged replies, and log the verdicts. Verdicts that are in the log are reused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from babelguard.errors import UserError
from babelguard.evaluation.outcome import ScoredReply
from babelguard.files import JsonlLog
from babelguard.judges import Exchange, Judge, Judgement, Verdict
from babelguard.judges.base import Expected
from babelguard.judges.thoughts import visible_reply
from babelguard.language_id import is_foreign
from babelguard.registry import guarded
from babelguard.screen import Tick

GENERATIONS = "generations.jsonl"
JUDGE_BATCH = 256
ONLY_A_THOUGHT = Judgement(Verdict.UNSCORED, "only a thought, no reply")


class LoggedReply(NamedTuple):
    """A logged reply that is to be judged.

    Attributes:
        fields: The fields at the beginning of its log line: `key`, `defence`, `seed`, `split`, `language`, `id`, `label`.
        exchange: The request and the whole reply.
        expected: What a correct reply is; None if the corpus does not say.
    """

    fields: dict[str, Any]
    exchange: Exchange
    expected: Expected | None = None


def verdicts_path(folder: Path, judge: str) -> Path:
    """Return the path of the log of the verdicts of a judge."""
    return folder / f"verdicts.{judge}.jsonl"


def needs_question(judge: Judge) -> bool:
    """Whether a judge cannot judge a reply without its question."""
    return bool(getattr(judge, "needs_question", True))


def score(
    judge: Judge, verdicts: JsonlLog, replies: Sequence[LoggedReply], tick: Tick | None = None
) -> list[ScoredReply]:
    """Judge the replies whose verdicts are not in the log, log them after each batch, and return all verdicts.

    Args:
        judge: The judge.
        verdicts: The log of its verdicts.
        replies: The replies.
        tick: Called with (done, total).

    Raises:
        UserError: If the judge fails, or the log cannot be written.
    """
    keys = [_verdict_key(reply, judge) for reply in replies]
    missing = [k for k, key in enumerate(keys) if verdicts.get(key) is None]
    done = len(keys) - len(missing)
    if tick is not None:
        tick(done, len(keys))
    # Verdicts are logged after each batch, because a judge may be slow or cost money.
    for start in range(0, len(missing), JUDGE_BATCH):
        batch = missing[start : start + JUDGE_BATCH]
        exchanges = [replies[k].exchange for k in batch]
        fresh = []
        for k, exchange, judgement in zip(batch, exchanges, judge_visible(judge, exchanges), strict=True):
            outcome = {
                "verdict": str(judgement.verdict),
                "reason": judgement.reason,
                "harmful": judgement.harmful,
                "foreign": is_foreign(visible_reply(exchange.reply).text, exchange.language),
            }
            fresh.append(replies[k].fields | {"key": keys[k]} | outcome)
        verdicts.append(fresh)
        done += len(batch)
        if tick is not None:
            tick(done, len(keys))
    return [_scored(reply, verdicts.rows[key]) for reply, key in zip(replies, keys, strict=True)]


def judge_visible(judge: Judge, exchanges: Sequence[Exchange]) -> list[Judgement]:
    """Judge what a user would see of each reply. A reply that is only a thought is unscored.

    Raises:
        UserError: If the judge fails or returns something else than one verdict per reply.
    """
    visible = [visible_reply(exchange.reply) for exchange in exchanges]
    shown = [
        exchange._replace(reply=reply.text)
        for exchange, reply in zip(exchanges, visible, strict=True)
        if not reply.only_thought
    ]
    judged = iter(_ask(judge, shown))
    return [ONLY_A_THOUGHT if reply.only_thought else next(judged) for reply in visible]


def judge_in_batches(judge: Judge, exchanges: Sequence[Exchange], tick: Tick | None = None) -> list[Judgement]:
    """Judge replies batch by batch without logging them; see `judge_visible`.

    Args:
        judge: The judge.
        exchanges: The requests and replies.
        tick: Called with (done, total) after each batch.
    """
    found: list[Judgement] = []
    for start in range(0, len(exchanges), JUDGE_BATCH):
        found += judge_visible(judge, exchanges[start : start + JUDGE_BATCH])
        if tick is not None:
            tick(len(found), len(exchanges))
    return found


def unsupported(judge: Judge, languages: Iterable[str]) -> list[str]:
    """Return the languages that a judge does not support, each once."""
    known = list(dict.fromkeys(languages))
    return list(guarded("judges", judge.name, judge.unsupported, known))


def _ask(judge: Judge, exchanges: Sequence[Exchange]) -> list[Judgement]:
    """Ask the judge, and check what it returns before it is logged."""
    if not exchanges:
        return []
    found = guarded("judges", judge.name, lambda: list(judge.judge(exchanges)))
    verdicts = [getattr(one, "verdict", one) for one in found]
    wrong = next((verdict for verdict in verdicts if verdict not in list(Verdict)), None)
    if len(found) != len(exchanges) or wrong is not None:
        what = f"the verdict '{wrong}'" if wrong is not None else f"{len(found)} for {len(exchanges)} replies"
        raise UserError(f"The judge '{judge.name}' returned {what}; correct or reinstall its package.")
    return found  # type: ignore[no-any-return]


def _verdict_key(reply: LoggedReply, judge: Judge) -> str:
    """Identify the verdict of a judge on a reply. A verdict without the question must not be used where it is known."""
    blind = "" if reply.exchange.question else "/without question"
    return f"{reply.fields['key']}/{reply.fields['label']}/{judge.version}{blind}"


def _scored(reply: LoggedReply, row: dict[str, Any]) -> ScoredReply:
    own = reply.fields
    where = (own["defence"], own["seed"], own["language"], own["id"], own["label"])
    return ScoredReply(*where, row["verdict"], row["foreign"], reply.expected, own["split"] == "hard")
