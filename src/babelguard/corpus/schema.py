"""Corpora of parallel prompts and their rows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from babelguard.corpus.header import language_code
from babelguard.errors import UserError
from babelguard.judges import LABELS

# `hard` holds harmless test rows that look harmful. They are reported apart, and a corpus need not have any.
SPLITS = ("train", "validation", "test", "hard")
NEEDED_SPLITS = SPLITS[:3]


@dataclass(frozen=True)
class Row:
    """One prompt in one or more languages.

    Attributes:
        id: Unique id.
        label: `harmful` or `harmless`.
        texts: The prompt by language code, in the order of the file's columns, NFC and stripped.
        split: `train`, `validation`, `test` or `hard`.
        expected: What a correct reply is: `refuse`, `support` or `answer`. None means `refuse` for harmful and `answer` for
            harmless prompts.
        category: Hazard category.
        topic: Topic. In the built-in corpus, the topics of the test split do not occur in the other splits.
        twin: Id of a row with similar wording. In the built-in corpus, twins have opposite labels.
        licence: Licence of the text.
        maker: Who wrote it.
        checker: Who checked it.
        note: Free text.
        extra: Other columns of a file that is not in babelguard's format. They do not change the digest.
    """

    id: str
    label: str
    texts: Mapping[str, str]
    split: str | None = None
    expected: str | None = None
    category: str | None = None
    topic: str | None = None
    twin: str | None = None
    licence: str | None = None
    maker: str | None = None
    checker: str | None = None
    note: str | None = None
    extra: Mapping[str, str] | None = None

    @property
    def harmful(self) -> bool:
        """Whether the prompt is harmful."""
        return self.label == "harmful"


@dataclass(frozen=True)
class Corpus:
    """A set of rows. Create it with `Corpus.of`, which computes the languages and the digest.

    Attributes:
        rows: Rows in the order of the files.
        languages: Codes of the languages that every row has, in the order of the columns.
        name: Name used in messages.
        digest: SHA-256 of the rows. It does not depend on the file format, the line ends or the order of columns.
    """

    rows: tuple[Row, ...]
    languages: tuple[str, ...]
    name: str
    digest: str

    @classmethod
    def of(cls, rows: Iterable[Row], name: str) -> Corpus:
        """Create a corpus from rows."""
        kept = tuple(rows)
        columns = kept[0].texts if kept else {}
        shared = tuple(code for code in columns if all(code in row.texts for row in kept))
        return cls(kept, shared, name, _digest(kept))

    @property
    def labels(self) -> list[int]:
        """Label of each row: 0 for harmful, 1 for harmless."""
        return [LABELS.index(row.label) for row in self.rows]

    @property
    def groups(self) -> list[list[int]]:
        """Row indices grouped by twins, also over several rows. A row without a twin in this corpus is its own group."""
        place = {row.id: k for k, row in enumerate(self.rows)}
        group_of = {k: [k] for k in range(len(self.rows))}
        for k, row in enumerate(self.rows):
            first, second = group_of[k], group_of[place.get(row.twin or "", k)]
            if first is not second:
                first += second
                group_of |= dict.fromkeys(second, first)
        return [sorted(group) for k, group in group_of.items() if k == min(group)]

    def texts(self, language: str) -> list[str]:
        """Return the prompts of all rows in one language.

        Raises:
            UserError: If not every row has the language.
        """
        code = self._code(language)
        return [row.texts[code] for row in self.rows]

    def split(self, name: str) -> Corpus:
        """Return the rows of one split. The result may be empty.

        Raises:
            UserError: If there is no split with this name.
        """
        check_split(name)
        return Corpus.of((row for row in self.rows if row.split == name), self.name)

    def select(self, languages: Sequence[str] | None = None, limit: int | None = None) -> Corpus:
        """Select languages and rows.

        Args:
            languages: Codes in the order of the result (Indonesian: `id` or `id-ID`), or None for all.
            limit: Maximum number of rows per label, or None for all. The first rows are kept. Hard rows are counted apart.

        Raises:
            UserError: If no language is given, not every row has a language, or the limit is below 1.
        """
        rows = self.rows
        if languages is not None:
            if not languages:
                raise UserError(f"No language is selected; {self.name} has {', '.join(self.languages)}.")
            codes = [self._code(name) for name in languages]
            rows = tuple(replace(row, texts={code: row.texts[code] for code in codes}) for row in rows)
        if limit is not None:
            rows = _first(rows, limit)
        return Corpus.of(rows, self.name)

    def _code(self, language: str) -> str:
        code = language_code(language)
        if code not in self.languages:
            shared = ", ".join(self.languages) or "none"
            raise UserError(
                f"Not all rows of {self.name} have the language '{language}'; languages of all rows: {shared}."
            )
        return code


def with_hard_rows(test: Corpus, corpus: Corpus) -> Corpus:
    """Add the rows of the split `hard` to test rows. Rows that lack one of the languages of the test rows are left out.

    Args:
        test: Test rows.
        corpus: The whole corpus.
    """
    hard = [row for row in corpus.rows if row.split == "hard" and all(code in row.texts for code in test.languages)]
    return Corpus.of((*test.rows, *hard), test.name) if hard else test


def check_split(name: str) -> None:
    """Check the name of a split.

    Raises:
        UserError: If there is no split with this name.
    """
    if name not in SPLITS:
        raise UserError(f"'{name}' is not a split of a corpus; use one of {', '.join(SPLITS)}.")


def _first(rows: Sequence[Row], limit: int) -> tuple[Row, ...]:
    if limit < 1:
        raise UserError(f"The `limit` of rows per label is {limit}; it must be at least 1.")
    seen: Counter[tuple[str, bool]] = Counter()
    kept = []
    for row in rows:
        kind = row.label, row.split == "hard"
        seen[kind] += 1
        if seen[kind] <= limit:
            kept.append(row)
    return tuple(kept)


def _digest(rows: Iterable[Row]) -> str:
    # Fields without a value are left out, so an empty CSV cell equals a missing JSONL key.
    content = [
        {field: value for field, value in vars(row).items() if value is not None and field != "extra"} for row in rows
    ]
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
