"""What the encoder judge sees of a reply: embeddings of its first sentence and of its beginning, and four numbers.

The question enters only as its similarity to the reply. A classifier that saw the question would learn that harmful questions are
refused, and would judge the question instead of the reply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from babelguard.judges.echo import overlap
from babelguard.models.sentence_encoder import DIMENSION, SentenceEncoder

# Characters of the beginning, and at most of the first sentence.
BEGINNING = 360
FIRST_SENTENCE = 220
# A shorter first sentence ("I'm sorry.") is read together with the next one. Number of letters.
MIN_LETTERS = 15
# Two embeddings, two similarities to the question, the share of repeated text, and the length.
FEATURES = 2 * DIMENSION + 4
# The features that depend on the question. They are set to their mean if there is no question.
OF_QUESTION = slice(2 * DIMENSION, 2 * DIMENSION + 3)

_MARKS = re.compile(r"[*_#`]+")
_END = re.compile(r"[.!?。！？।॥؟۔…።፡፧]+[\"”»’)\]]*(?:\s|$)|[。！？।]|\n")


class Parts(NamedTuple):
    """The first sentence of a reply, and its beginning."""

    first: str
    beginning: str


def parts_of(reply: str) -> Parts:
    """Return the first sentence and the beginning of a reply, without Markdown marks."""
    text = re.sub(r"[ \t]+", " ", _MARKS.sub("", reply[: 4 * BEGINNING])).strip()
    end = len(text)
    for found in _END.finditer(text):
        if sum(map(str.isalpha, text[: found.end()])) >= MIN_LETTERS:
            end = found.end()
            break
    return Parts(text[: min(end, FIRST_SENTENCE)].strip(), text[:BEGINNING])


def reply_features(encoder: SentenceEncoder, questions: Sequence[str], replies: Sequence[str]) -> NDArray[np.float32]:
    """Return the features of replies, [n, 772].

    Args:
        encoder: The sentence encoder.
        questions: The requests; '' where the request is not known.
        replies: The replies.
    """
    parts = [parts_of(reply) for reply in replies]
    first, beginning, question = np.split(
        encoder.embed([part.first for part in parts] + [part.beginning for part in parts] + list(questions)), 3
    )
    numbers = [
        [overlap(asked, reply), np.log1p(len(reply[: 4 * BEGINNING]))]
        for asked, reply in zip(questions, replies, strict=True)
    ]
    similarity = np.stack([(first * question).sum(1), (beginning * question).sum(1)], axis=1)
    return np.concatenate([first, beginning, similarity, np.array(numbers, np.float32).reshape(-1, 2)], axis=1)
