"""Send requests to a target, log the replies, and judge them. Replies and verdicts that are in a log are reused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from babelguard.corpus import Question
from babelguard.defences import Defence
from babelguard.errors import UserError
from babelguard.evaluation.judging import GENERATIONS, LoggedReply, score, verdicts_path
from babelguard.evaluation.log_rows import ReplyRow, VerdictRow
from babelguard.evaluation.outcome import ScoredReply
from babelguard.files import JsonlLog
from babelguard.judges import Exchange, Judge
from babelguard.screen import Tick
from babelguard.targets import Target
from babelguard.targets.base import TargetReply

# Maximum length of a reply in tokens, by language.
Budgets = Mapping[str, int]


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
        self.target, self.judge, self.folder = target, judge, folder
        self.generations = JsonlLog(folder / GENERATIONS, ReplyRow)
        self.verdicts = JsonlLog(verdicts_path(folder, judge.name), VerdictRow)
        self.others = [JsonlLog(found, ReplyRow) for found in map(_log_of, reuse)]

    def judged_by(self, judge: Judge) -> Bench:
        """Return a bench with another judge and the same replies."""
        other = copy(self)
        other.judge = judge
        other.verdicts = JsonlLog(verdicts_path(self.folder, judge.name), VerdictRow)
        return other

    def key(self, defence: Defence, question: Question, tokens: int) -> str:
        """Identify a reply and its verdict. The language is included, because two languages can share a text."""
        parts = f"{self.target.key(defence, question.text, tokens)}\x1f{question.language}"
        return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:24]

    def ask(
        self, defence: Defence, questions: Sequence[Question], *, tokens: Budgets, tick: Tick | None = None
    ) -> list[ScoredReply]:
        """Return a judged reply to every question, generated or from a log.

        Args:
            defence: The defence.
            questions: The questions.
            tokens: Maximum length of a reply in tokens, by language; see `reply_budgets`.
            tick: Called with (done, total).

        Raises:
            UserError: If a question does not fit into the model's context.
        """
        keys = [self.key(defence, question, tokens[question.language]) for question in questions]
        for other in self.others:
            # The other run may have logged this reply under another defence or row id, so those fields are replaced.
            taken = [(q, k, other.rows[k]) for q, k in zip(questions, keys, strict=True) if k in other.rows]
            self.generations.append([_reply_row(defence, q, k, _reply_of(row)) for q, k, row in taken])
        known = {k for k, key in enumerate(keys) if self.generations.get(key) is not None}
        if tick is not None:
            tick(len(known), len(questions))
        if len(known) < len(questions):
            self._reply(defence, questions, keys, known, tokens, tick)
        return self._judge(defence, questions, keys)

    def _reply(
        self,
        defence: Defence,
        questions: Sequence[Question],
        keys: list[str],
        known: set[int],
        tokens: Budgets,
        tick: Tick | None,
    ) -> None:
        """Generate the missing replies."""

        def log(replies: list[tuple[int, TargetReply]]) -> None:
            self.generations.append([_reply_row(defence, questions[k], keys[k], reply) for k, reply in replies])
            if tick is not None:
                tick(sum(self.generations.get(key) is not None for key in keys), len(keys))

        self.target.replies(
            defence,
            [question.text for question in questions],
            tokens=[tokens[question.language] for question in questions],
            done=log,
            known=known,
            names=[f"{question.row_id} ({question.language})" for question in questions],
        )

    def _judge(self, defence: Defence, questions: Sequence[Question], keys: list[str]) -> list[ScoredReply]:
        replies = [self._logged(defence, question, key) for question, key in zip(questions, keys, strict=True)]
        return score(self.judge, self.verdicts, replies)

    def _logged(self, defence: Defence, question: Question, key: str) -> LoggedReply:
        row = self.generations.get(key)
        if row is None:
            raise RuntimeError(f"reply {key} is missing from the log")
        exchange = Exchange(question.text, row["reply"], question.language, question.label, row["finished"])
        return LoggedReply(_fields(defence, question, key), exchange, question.expected)


def _reply_row(defence: Defence, question: Question, key: str, reply: TargetReply) -> dict[str, Any]:
    """Return a log line of a reply. With the question in it, the reply can be judged again without the corpus."""
    asked = {"question": question.text} | ({} if question.expected is None else {"expected": question.expected})
    known = {"date": reply.date, "system_fingerprint": reply.fingerprint}
    about = {name: value for name, value in known.items() if value is not None}
    return _fields(defence, question, key) | asked | about | {"reply": reply.text, "finished": reply.finished}


def _reply_of(row: dict[str, Any]) -> TargetReply:
    """Return the reply of a log line."""
    return TargetReply(row["reply"], row["finished"], row.get("date"), row.get("system_fingerprint"))


def _fields(defence: Defence, question: Question, key: str) -> dict[str, Any]:
    """Return the fields at the beginning of every log line."""
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
        raise UserError(f"There is no {GENERATIONS} in {run}, so its replies cannot be reused; give a run folder.")
    return path
