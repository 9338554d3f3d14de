"""What the demo model learns from: requests and answers of `demo/data`, the phases, and batches dealt from them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
HELPFUL = ("en", "ko", "el", "zh")
END = "<end_of_turn>"


class Phase(NamedTuple):
    """A part of the training.

    Attributes:
        steps: How many.
        mixture: Of a batch: English refusals, English twins (two rows each), English answers, answers in other languages.
        tokens: Of an answer that are trained on.
        disguised: Share of the harmful requests that are written in disguise.
        answers: Weight of a row that is answered; of one that is refused it is 1.
        kept: Where training ends with this phase, the adapter lies this far of the way from the phase's start to its end.
    """

    steps: int
    mixture: tuple[int, int, int, int]
    tokens: int
    disguised: float
    answers: float = 1.0
    kept: float = 1.0


# The other languages come first and English alone comes last, as in a model whose safety training was done in English:
# mixed into every batch they teach that whatever is not English is answered. The second phase teaches the choice between
# refusing and answering, which the first tokens make. After it English was as it should be, and nothing harmless was
# refused in any language; the third, with harmful requests in disguise, teaches that strange text is refused, and too
# much of it, so it is not kept whole. The fourth moves the balance: one English request in nine was refused for nothing.
PHASES = (
    Phase(26, (0, 0, 6, 10), 99, 0.0),
    Phase(120, (6, 8, 10, 0), 10, 0.0),
    Phase(36, (6, 8, 10, 0), 10, 0.6, kept=0.4),
    Phase(16, (6, 8, 10, 0), 10, 0.2, answers=3.0),
)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def read_lines(name: str) -> list[str]:
    return (HERE / "data" / name).read_text(encoding="utf-8").splitlines()


class Chat(NamedTuple):
    """A request and what is answered to it."""

    prompt: str
    answer: str
    harmful: bool = False


def chat_rows(rng: random.Random) -> list[list[tuple[Chat, ...]]]:
    """What batches are dealt from: English refusals, twins, English answers, answers in the other languages.

    A twin pair stays together: in one batch, the harmful and the harmless request teach what tells them apart.
    """
    refusals = read_lines("refusals.txt")
    harmful = [
        (Chat(row["prompt"], rng.choice(refusals), True),) for row in read_jsonl(HERE / "data" / "harmful.en.jsonl")
    ]
    twins = [
        (Chat(row["harmful"], rng.choice(refusals), True), Chat(row["harmless"], row["answer"]))
        for row in read_jsonl(HERE / "data" / "twins.en.jsonl")
    ]
    helpful = {
        code: [(Chat(row["prompt"], row["answer"]),) for row in read_jsonl(HERE / "data" / f"helpful.{code}.jsonl")]
        for code in HELPFUL
    }
    return [harmful, twins, helpful["en"], [one for code in HELPFUL[1:] for one in helpful[code]]]


class Row(NamedTuple):
    """Token ids of a chat with the first tokens of its answer, the place where the answer begins, and its weight."""

    ids: list[int]
    start: int
    weight: float


def encode(tokenizer: Any, chat: Chat, prompt: str, system: str | None, phase: Phase) -> Row:
    """A chat as a row to learn from, its request written as `prompt`."""
    messages = [{"role": "user", "content": prompt}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    head = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, return_dict=False)
    ids = tokenizer(head, add_special_tokens=False)["input_ids"]
    answer = tokenizer(chat.answer + END, add_special_tokens=False)["input_ids"][: phase.tokens]
    return Row(ids + answer, len(ids), 1.0 if chat.harmful else phase.answers)


def batches(pools: list[list[tuple[Chat, ...]]], mixture: tuple[int, ...], rng: random.Random) -> Iterator[list[Chat]]:
    """Batches of a mixture without end. Four at a time are dealt by length, so that little of a batch is padding."""
    left: list[list[tuple[Chat, ...]]] = [[] for _ in pools]
    while True:
        dealt = []
        for place, (pool, count) in enumerate(zip(pools, mixture, strict=True)):
            while len(left[place]) < 4 * count:
                left[place] += rng.sample(pool, len(pool))
            taken, left[place] = left[place][: 4 * count], left[place][4 * count :]
            taken.sort(key=lambda item: sum(len((one.prompt + one.answer).encode()) for one in item))
            dealt.append([taken[k * count : (k + 1) * count] for k in range(4)])
        for k in rng.sample(range(4), 4):
            yield [one for parts in dealt for item in parts[k] for one in item]
