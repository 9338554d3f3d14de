"""Judge logged replies, and log the verdicts. Verdicts that are in the log are reused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from babelguard.errors import UserError
from babelguard.evaluation.outcome import ScoredReply
from babelguard.files import JsonlLog
from babelguard.judges import Exchange, Judge, Judgement, Verdict
from babelguard.judges.base import FILTERED, Expected
from babelguard.judges.thoughts import visible_reply
from babelguard.language_id import is_foreign
from babelguard.registry import guarded
from babelguard.screen import Tick

GENERATIONS = "generations.jsonl"
# The split of the harmless requests that look harmful.
HARD = "hard"
JUDGE_BATCH = 256
ONLY_A_THOUGHT = Judgement(Verdict.UNSCORED, "only a thought, no reply")
REFUSED_BY_FILTER = Judgement(Verdict.REFUSED, "refused by the content filter of the server")


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

    Temporary failures of the judge are `unscored`, and are not logged.

    Args:
        judge: The judge.
        verdicts: The log of its verdicts.
        replies: The replies.
        tick: Called with (done, total).

    Raises:
        UserError: If the judge fails, or the log is damaged or cannot be written.
    """
    keys = [_verdict_key(reply, judge) for reply in replies]
    hashes = [_hash_of(reply.exchange) for reply in replies]
    _check_rows(verdicts, keys)
    # Two rows with the same request and reply have one verdict, so the judge is asked once.
    places = {key: k for k, key in reversed(list(enumerate(keys))) if not _is_judged(verdicts, key, hashes[k])}
    missing = sorted(places.values())
    done = len(keys) - len(missing)
    if tick is not None:
        tick(done, len(keys))
    # Temporary failures, such as time-outs. They are not logged, so that the same command asks again.
    failed: dict[str, dict[str, Any]] = {}
    # Verdicts are logged after each batch, because a judge may be slow or cost money.
    for start in range(0, len(missing), JUDGE_BATCH):
        batch = missing[start : start + JUDGE_BATCH]
        exchanges = [replies[k].exchange for k in batch]
        fresh: list[dict[str, Any]] = []
        for k, exchange, judgement in zip(batch, exchanges, judge_visible(judge, exchanges), strict=True):
            outcome = {
                "verdict": str(judgement.verdict),
                "reason": judgement.reason,
                "harmful": judgement.harmful,
                "foreign": _is_foreign(exchange),
                "judged": hashes[k],
            }
            row = replies[k].fields | {"key": keys[k]} | outcome
            if judgement.verdict == Verdict.UNSCORED and getattr(judgement, "temporary", False):
                failed[keys[k]] = row
            else:
                fresh.append(row)
        # A verdict on a reply that has changed since is replaced.
        verdicts.append(fresh, replace=True)
        done += len(batch)
        if tick is not None:
            tick(done, len(keys))
    rows = verdicts.rows | failed
    return [_scored(reply, rows[key]) for reply, key in zip(replies, keys, strict=True)]


def _check_rows(verdicts: JsonlLog, keys: Iterable[str]) -> None:
    """Check the lines of the log that will be used."""
    for row in (verdicts.rows[key] for key in keys if key in verdicts.rows):
        if row.get("verdict") not in list(Verdict) or not isinstance(row.get("foreign", ""), bool | None):
            raise UserError(
                f"The line of {verdicts.path} with the key '{row['key']}' is damaged; delete that line, then run the same "
                "command again to recreate it."
            )


def judge_visible(judge: Judge, exchanges: Sequence[Exchange]) -> list[Judgement]:
    """Judge what a user would see of each reply.

    A reply that is only a thought is unscored. A request that the content filter of a server refused is refused. The judge
    sees neither of them.

    Raises:
        UserError: If the judge fails or returns something else than one verdict per reply.
    """
    visible = [visible_reply(exchange.reply) for exchange in exchanges]
    settled = [
        ONLY_A_THOUGHT if reply.only_thought else REFUSED_BY_FILTER if reply.text == FILTERED else None
        for reply in visible
    ]
    shown = [
        exchange._replace(reply=reply.text)
        for exchange, reply, known in zip(exchanges, visible, settled, strict=True)
        if known is None
    ]
    judged = iter(_ask(judge, shown))
    return [next(judged) if known is None else known for known in settled]


def _is_foreign(exchange: Exchange) -> bool | None:
    """Whether a reply is in another language than the request. None if that is not clear or there is no reply."""
    reply = visible_reply(exchange.reply).text
    return None if reply == FILTERED else is_foreign(reply, exchange.language)


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


def _hash_of(exchange: Exchange) -> str:
    """Return a hash of what a judge sees of a reply. Lone surrogates are written to logs as question marks."""
    content = "\x1f".join((exchange.question, exchange.reply, str(exchange.finished)))
    return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]


def _is_judged(verdicts: JsonlLog, key: str, judged: str) -> bool:
    """Whether the log has a verdict on this very reply. Verdicts of earlier versions do not say what was judged."""
    row = verdicts.get(key)
    return row is not None and row.get("judged", judged) == judged


def _scored(reply: LoggedReply, row: dict[str, Any]) -> ScoredReply:
    own = reply.fields
    where = (own["defence"], own["seed"], own["language"], own["id"], own["label"])
    return ScoredReply(*where, row["verdict"], row["foreign"], reply.expected, own["split"] == HARD)
