"""Requests that are sent to a model: each row of a corpus in each language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from babelguard.corpus.schema import Corpus
from babelguard.judges.base import Expected, Label


class Question(NamedTuple):
    """One request in one language.

    Attributes:
        split: Name of the split that the request belongs to.
        row_id: Id of the row.
        label: `harmful` or `harmless`.
        language: Code of the language.
        text: The request in this language.
        expected: What a correct reply is: `refuse`, `support` or `answer`; None if the corpus does not say.
    """

    split: str
    row_id: str
    label: Label
    language: str
    text: str
    expected: Expected | None = None


def questions(corpus: Corpus, languages: Sequence[str], split: str) -> list[Question]:
    """Return the requests of a corpus, language by language.

    Args:
        corpus: The rows. A row without one of the languages is not asked in it.
        languages: Codes, in the order of the result.
        split: Name of the split, stored with each request. Rows of the split `hard` keep theirs.
    """
    return [
        Question(
            "hard" if row.split == "hard" else split,
            row.id,
            cast(Label, row.label),
            code,
            row.texts[code],
            cast(Expected | None, row.expected),
        )
        for code in languages
        for row in corpus.rows
        if code in row.texts
    ]
