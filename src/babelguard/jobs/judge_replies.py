"""Judge the replies of a file, and compare the verdicts with the true ones where these are given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from babelguard.errors import UserError
from babelguard.evaluation.judge_quality import Judged, Quality, quality
from babelguard.evaluation.judging import judge_in_batches, needs_question, unsupported
from babelguard.jobs.reply_file import GivenReply, read_replies
from babelguard.judges import Judge, Judgement, JudgeOptions
from babelguard.judges.base import title_of
from babelguard.judges.create import create_judge
from babelguard.languages import display_name
from babelguard.report.judge_tables import JudgeTable, quality_table, verdict_table
from babelguard.screen import Screen, Silent

ALL = "all"


class JudgedFile(NamedTuple):
    """The verdicts on the replies of a file.

    Attributes:
        judge: Name of the judge.
        title: What tables call it.
        version: Its version.
        replies: The replies.
        judgements: The judgement on each reply.
        quality: The quality of the judge by language, then over all languages under the name `all`. Empty if no true
            verdicts are given.
    """

    judge: str
    title: str
    version: str
    replies: tuple[GivenReply, ...]
    judgements: tuple[Judgement, ...]
    quality: dict[str, Quality]

    def as_json(self) -> dict[str, Any]:
        """Return the content of the JSON output."""
        replies = [
            {
                "id": reply.id,
                "language": reply.exchange.language,
                "verdict": str(found.verdict),
                "reason": found.reason,
                "harmful": found.harmful,
            }
            for reply, found in zip(self.replies, self.judgements, strict=True)
        ]
        measured = [{"language": code} | one.model_dump(mode="json") for code, one in self.quality.items()]
        return {"judge": self.judge, "version": self.version, "replies": replies, "quality": measured}

    def lines(self) -> list[tuple[str, ...]]:
        """Return id, language, verdict and reason of each reply."""
        return [
            (reply.id, reply.exchange.language, str(found.verdict), found.reason)
            for reply, found in zip(self.replies, self.judgements, strict=True)
        ]

    def verdicts(self) -> JudgeTable:
        """Return the table of the verdicts."""
        return verdict_table(self.title, self.lines())

    def quality_table(self) -> JudgeTable | None:
        """Return the table of the quality, or None if no true verdicts are given."""
        if not self.quality:
            return None
        rows = [(display_name(code), one) for code, one in self.quality.items()]
        return quality_table(f"{self.title}: refusing replies", "language", rows)


def judge_replies(
    path: Path | str,
    judge: str = "default",
    *,
    judge_model: str | None = None,
    judge_url: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    screen: Screen | None = None,
) -> JudgedFile:
    """Judge the replies of a file.

    Args:
        path: JSONL; see `read_replies`.
        judge: Name of the judge.
        judge_model: Model of a judge that asks a language model: its name at `judge_url`, a folder or a hub id.
        judge_url: OpenAI-compatible endpoint of such a judge.
        device: Device of such a judge.
        dtype: Data type of such a judge.
        screen: Shows progress. Nothing is shown by default.

    Raises:
        UserError: If the file or the judge cannot be used.
    """
    screen = screen or Silent()
    replies = read_replies(Path(path))
    chosen = create_judge(judge, JudgeOptions(judge_model, judge_url, device, dtype))
    _check(chosen, replies, Path(path), screen)
    with screen.progress(f"{chosen.name}: verdicts") as (tick, _):
        found = judge_in_batches(chosen, [reply.exchange for reply in replies], tick)
    judged = [
        (reply.exchange.language, Judged(reply.true, one.verdict))
        for reply, one in zip(replies, found, strict=True)
        if reply.true is not None
    ]
    measured = quality_by([(code, pair) for code, pair in judged])
    return JudgedFile(chosen.name, title_of(chosen), chosen.version, tuple(replies), tuple(found), measured)


def quality_by(judged: Sequence[tuple[str, Judged]]) -> dict[str, Quality]:
    """Return the quality by group, in the order of the groups, then over all replies under the name `all`.

    Args:
        judged: The group of each reply, and its verdicts.
    """
    if not judged:
        return {}
    groups: dict[str, list[Judged]] = {}
    for group, pair in judged:
        groups.setdefault(group, []).append(pair)
    return {group: quality(pairs) for group, pairs in groups.items()} | {ALL: quality(pair for _, pair in judged)}


def _check(judge: Judge, replies: Sequence[GivenReply], path: Path, screen: Screen) -> None:
    blind = next((reply for reply in replies if not reply.exchange.question), None)
    if blind is not None and needs_question(judge):
        raise UserError(
            f"The judge '{judge.name}' needs the question of every reply, but line {blind.line} of {path} has no 'question'; add "
            "it, or use the judge 'patterns'."
        )
    if silent := unsupported(judge, (reply.exchange.language for reply in replies)):
        screen.say(f"The judge '{judge.name}' does not support {', '.join(map(display_name, silent))}.")
