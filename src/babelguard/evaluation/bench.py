"""Send requests to a target, log the replies, and judge them. Replies and verdicts that are in a log are reused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from babelguard.corpus import Question
from babelguard.defences import Defence
from babelguard.errors import UserError
from babelguard.evaluation.outcome import ScoredReply
from babelguard.files import JsonlLog
from babelguard.judges import Exchange, Judge, Judgement, Verdict
from babelguard.judges.thoughts import visible_reply
from babelguard.language_id import is_foreign
from babelguard.registry import guarded
from babelguard.screen import Tick
from babelguard.targets import Target
from babelguard.targets.base import TargetReply

GENERATIONS = "generations.jsonl"
JUDGE_BATCH = 256
ONLY_A_THOUGHT = Judgement(Verdict.UNSCORED, "only a thought, no reply")


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
        self, defence: Defence, questions: Sequence[Question], *, tokens: int, tick: Tick | None = None
    ) -> list[ScoredReply]:
        """Return a judged reply to every question, generated or from a log.

        Args:
            defence: The defence.
            questions: The questions.
            tokens: Maximum length of a reply.
            tick: Called with (done, total).

        Raises:
            UserError: If a question does not fit into the model's context.
        """
        keys = [self.key(defence, question, tokens) for question in questions]
        for other in self.others:
            # The other run may have logged this reply under another defence or row id, so those fields are replaced.
            taken = [(q, k, other.rows[k]) for q, k in zip(questions, keys, strict=True) if k in other.rows]
            self.generations.append([row | _fields(defence, question, key) for question, key, row in taken])
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
        tokens: int,
        tick: Tick | None,
    ) -> None:
        def log(replies: list[tuple[int, TargetReply]]) -> None:
            rows = []
            for index, reply in replies:
                fields = _fields(defence, questions[index], keys[index])
                rows.append(fields | {"reply": reply.text, "finished": reply.finished})
            self.generations.append(rows)
            if tick is not None:
                tick(sum(self.generations.get(key) is not None for key in keys), len(keys))

        texts = [question.text for question in questions]
        names = [f"{question.row_id} ({question.language})" for question in questions]
        self.target.replies(defence, texts, tokens=tokens, done=log, known=known, names=names)

    def _judge(self, defence: Defence, questions: Sequence[Question], keys: list[str]) -> list[ScoredReply]:
        judged = [f"{key}/{question.label}/{self.judge.version}" for question, key in zip(questions, keys, strict=True)]
        missing = [k for k, key in enumerate(judged) if self.verdicts.get(key) is None]
        # Verdicts are logged after each batch, because a judge may be slow or cost money.
        for start in range(0, len(missing), JUDGE_BATCH):
            batch = missing[start : start + JUDGE_BATCH]
            exchanges = [self._exchange(questions[k], keys[k]) for k in batch]
            fresh = []
            for k, exchange, judgement in zip(batch, exchanges, self._verdicts(exchanges), strict=True):
                outcome = {
                    "verdict": str(judgement.verdict),
                    "reason": judgement.reason,
                    "foreign": is_foreign(visible_reply(exchange.reply).text, exchange.language),
                }
                fresh.append(_fields(defence, questions[k], judged[k]) | outcome)
            self.verdicts.append(fresh)
        scored = []
        for question, key in zip(questions, judged, strict=True):
            row = self.verdicts.rows[key]
            scored.append(
                ScoredReply(
                    defence.name,
                    defence.seed,
                    question.language,
                    question.row_id,
                    question.label,
                    row["verdict"],
                    row["foreign"],
                )
            )
        return scored

    def _verdicts(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """Judge what a user would see of each reply. A reply that is only a thought is unscored."""
        visible = [visible_reply(exchange.reply) for exchange in exchanges]
        shown = [
            exchange._replace(reply=reply.text)
            for exchange, reply in zip(exchanges, visible, strict=True)
            if not reply.only_thought
        ]
        judged = iter(self._ask_judge(shown))
        return [ONLY_A_THOUGHT if reply.only_thought else next(judged) for reply in visible]

    def _ask_judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """Ask the judge, and check what it returns before it is logged."""
        if not exchanges:
            return []
        found = guarded("judges", self.judge.name, lambda: list(self.judge.judge(exchanges)))
        verdicts = [getattr(one, "verdict", one) for one in found]
        wrong = next((verdict for verdict in verdicts if verdict not in list(Verdict)), None)
        if len(found) != len(exchanges) or wrong is not None:
            what = f"the verdict '{wrong}'" if wrong is not None else f"{len(found)} for {len(exchanges)} replies"
            raise UserError(f"The judge '{self.judge.name}' returned {what}; correct or reinstall its package.")
        return found  # type: ignore[no-any-return]

    def _exchange(self, question: Question, key: str) -> Exchange:
        row = self.generations.get(key)
        if row is None:
            raise RuntimeError(f"reply {key} is missing from the log")
        return Exchange(question.text, row["reply"], question.language, question.label, row["finished"])


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
