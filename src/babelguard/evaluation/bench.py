"""Ask a target, log the replies, and have them judged. Replies and verdicts that are in the log are not made again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from babelguard.corpus import Question
from babelguard.defences import Defence
from babelguard.errors import UserError
from babelguard.evaluation.outcome import ScoredReply
from babelguard.files import JsonlLog
from babelguard.judges import Exchange, Judge
from babelguard.language_id import is_foreign
from babelguard.targets import Target
from babelguard.targets.base import TargetReply

Tick = Callable[[int, int], None]
GENERATIONS = "generations.jsonl"


class Bench:
    """A target, a judge, and the logs of a run.

    Args:
        target: Answers the questions.
        judge: Judges the replies.
        folder: Folder of generations.jsonl and verdicts.<judge>.jsonl.
        reuse: Folders of other runs, whose replies are copied if they would be the same.

    Raises:
        UserError: If a log is damaged or a folder to reuse has none.
    """

    def __init__(self, target: Target, judge: Judge, folder: Path, reuse: Sequence[Path] = ()) -> None:
        self.target, self.judge = target, judge
        self.generations = JsonlLog(folder / GENERATIONS)
        self.verdicts = JsonlLog(folder / f"verdicts.{judge.name}.jsonl")
        self.others = [JsonlLog(found, read_only=True) for found in map(_log_of, reuse)]

    def key(self, defence: Defence, question: Question, tokens: int) -> str:
        """Identify a reply and its verdict. The language is included, because two languages can share a text."""
        parts = f"{self.target.key(defence, question.text, tokens)}\x1f{question.language}"
        return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:24]

    def ask(
        self, defence: Defence, asked: Sequence[Question], *, tokens: int, tick: Tick | None = None
    ) -> list[ScoredReply]:
        """Get a judged reply to every question.

        Args:
            defence: The defence.
            asked: The questions.
            tokens: Maximum length of a reply.
            tick: Called with (done, total).

        Raises:
            UserError: If a question does not fit into the model's context.
        """
        keys = [self.key(defence, question, tokens) for question in asked]
        for other in self.others:
            # A copied reply may have another name there; only its text is the same.
            taken = [(q, k, other.rows[k]) for q, k in zip(asked, keys, strict=True) if k in other.rows]
            self.generations.append([row | _fields(defence, question, key) for question, key, row in taken])
        known = {k for k, key in enumerate(keys) if self.generations.get(key) is not None}
        if tick is not None:
            tick(len(known), len(asked))
        if len(known) < len(asked):
            self._reply(defence, asked, keys, known, tokens, tick)
        return self._judge(defence, asked, keys)

    def _reply(
        self,
        defence: Defence,
        asked: Sequence[Question],
        keys: list[str],
        known: set[int],
        tokens: int,
        tick: Tick | None,
    ) -> None:
        def log(replies: list[tuple[int, TargetReply]]) -> None:
            rows = []
            for index, reply in replies:
                fields = _fields(defence, asked[index], keys[index])
                rows.append(fields | {"reply": reply.text, "finished": reply.finished})
            self.generations.append(rows)
            if tick is not None:
                tick(sum(self.generations.get(key) is not None for key in keys), len(keys))

        texts = [question.text for question in asked]
        names = [f"{question.row_id} ({question.language})" for question in asked]
        self.target.replies(defence, texts, tokens=tokens, done=log, known=known, names=names)

    def _judge(self, defence: Defence, asked: Sequence[Question], keys: list[str]) -> list[ScoredReply]:
        judged = [f"{key}/{self.judge.version}" for key in keys]
        missing = [k for k, key in enumerate(judged) if self.verdicts.get(key) is None]
        exchanges = [self._exchange(asked[k], keys[k]) for k in missing]
        fresh = []
        for k, exchange, judgement in zip(missing, exchanges, self.judge.judge(exchanges), strict=True):
            outcome = {
                "verdict": str(judgement.verdict),
                "reason": judgement.reason,
                "foreign": is_foreign(exchange.reply, exchange.language),
            }
            fresh.append(_fields(defence, asked[k], judged[k]) | outcome)
        self.verdicts.append(fresh)
        scored = []
        for question, key in zip(asked, judged, strict=True):
            row = self.verdicts.rows[key]
            scored.append(
                ScoredReply(
                    defence.name,
                    defence.seed,
                    question.language,
                    question.row_id,
                    question.label,  # type: ignore[arg-type]
                    row["verdict"],
                    row["foreign"],
                )
            )
        return scored

    def _exchange(self, question: Question, key: str) -> Exchange:
        row = self.generations.get(key)
        if row is None:
            raise RuntimeError(f"reply {key} is missing from the log")
        return Exchange(question.text, row["reply"], question.language, question.label, row["finished"])  # type: ignore[arg-type]


def _fields(defence: Defence, question: Question, key: str) -> dict[str, Any]:
    """Fields that every line of a log begins with."""
    return {
        "key": key,
        "defence": defence.name,
        "seed": defence.seed,
        "split": question.split,
        "language": question.language,
        "id": question.row_id,
        "label": question.label,
    }


def _log_of(run: Path) -> Path:
    path = run / GENERATIONS
    if not path.is_file():
        raise UserError(f"There is no {GENERATIONS} in {run}, so its replies cannot be reused; name a run folder.")
    return path
