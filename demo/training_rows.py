"""The training data of the demo model: requests and answers from `demo/data`, the training phases, and the batches."""

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
    """A phase of the training.

    Attributes:
        steps: Number of steps.
        mixture: Composition of a batch: English refusals, English twins (two rows each), English answers, and answers in other
            languages.
        tokens: Number of tokens of an answer that are trained on.
        disguised: Share of the harmful requests that are obfuscated.
        answers: Weight of rows that are answered. Rows that are refused have weight 1.
        kept: If training ends with this phase, the weights are interpolated between its start (0) and its end (1).
    """

    steps: int
    mixture: tuple[int, int, int, int]
    tokens: int
    disguised: float
    answers: float = 1.0
    kept: float = 1.0


# Other languages come first and English alone comes last, as in a model whose safety training was in English. If other languages
# are part of every batch, the model learns to answer everything that is not English. The second phase teaches the choice
# between refusing and answering, which depends on the first tokens. After it, no harmless request was refused in any language.
# The third phase, with obfuscated harmful requests, teaches the model to refuse unfamiliar text. Its effect is too strong, so
# only 40 % of it is kept. The fourth phase reduces false refusals in English, which were one in nine. See docs/experiments.md.
PHASES = (
    Phase(26, (0, 0, 6, 10), 99, 0.0),
    Phase(120, (6, 8, 10, 0), 10, 0.0),
    Phase(36, (6, 8, 10, 0), 10, 0.6, kept=0.4),
    Phase(16, (6, 8, 10, 0), 10, 0.2, answers=3.0),
)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def read_lines(name: str) -> list[str]:
    """Read the lines of a text file in `demo/data`."""
    return (HERE / "data" / name).read_text(encoding="utf-8").splitlines()


class Chat(NamedTuple):
    """A request and the answer to train on."""

    prompt: str
    answer: str
    harmful: bool = False


def chat_rows(rng: random.Random) -> list[list[tuple[Chat, ...]]]:
    """Return the chats for the batches: English refusals, twins, English answers, and answers in other languages.

    Both requests of a twin pair are in the same batch, so that the model learns how they differ.
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
    """Token ids of a chat with the first tokens of its answer, the index where the answer begins, and the weight."""

    ids: list[int]
    start: int
    weight: float


def encode(tokenizer: Any, chat: Chat, prompt: str, system: str | None, phase: Phase) -> Row:
    """Encode a chat as a training row. `prompt` is the request, possibly obfuscated."""
    messages = [{"role": "user", "content": prompt}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    head = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, return_dict=False)
    ids = tokenizer(head, add_special_tokens=False)["input_ids"]
    answer = tokenizer(chat.answer + END, add_special_tokens=False)["input_ids"][: phase.tokens]
    return Row(ids + answer, len(ids), 1.0 if chat.harmful else phase.answers)


def batches(pools: list[list[tuple[Chat, ...]]], mixture: tuple[int, ...], rng: random.Random) -> Iterator[list[Chat]]:
    """Yield batches without end. Rows are sorted by length within four batches, to reduce padding."""
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
