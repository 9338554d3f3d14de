"""Split a corpus without splits into train, validation and test, by group."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from babelguard.corpus.schema import NEEDED_SPLITS, Corpus
from babelguard.errors import UserError
from babelguard.judges import LABELS

# Share of the groups in validation and in test. Each has at least one group per label.
SHARE = 0.2
# With fewer topics, the rows are grouped by twins only.
_FEW_TOPICS = 10


def split_by_group(corpus: Corpus, seed: int) -> tuple[Corpus, str]:
    """Split a corpus 60/20/20. Rows of one topic, or else twins, are in the same split.

    Groups with the same labels are ordered by a hash of the seed and their first id, so the split does not depend on the
    order of the file.

    Args:
        corpus: Rows without splits.
        seed: Random seed.

    Returns:
        The corpus, and a line that says how it was split.

    Raises:
        UserError: If a label has fewer than three groups.
    """
    groups, what = _groups(corpus)
    kinds: dict[tuple[str, ...], list[list[int]]] = {}
    for group in groups:
        labels = {corpus.rows[k].label for k in group}
        kinds.setdefault(tuple(label for label in LABELS if label in labels), []).append(group)
    split_of: dict[int, str] = {}
    for members in kinds.values():
        ordered = sorted(members, key=lambda group: _order(seed, corpus.rows[group[0]].id))
        count = max(1, round(SHARE * len(ordered))) if len(ordered) > 2 else 0
        for place, group in enumerate(ordered):
            name = "validation" if place < count else "test" if place < 2 * count else "train"
            split_of |= dict.fromkeys(group, name)
    rows = [replace(row, split=split_of[k]) for k, row in enumerate(corpus.rows)]
    _check(corpus, [(row.split, row.label) for row in rows])
    counts = ", ".join(f"{sum(row.split == name for row in rows)} {name}" for name in NEEDED_SPLITS)
    line = f"{corpus.name} has no splits: its rows were split {what} with the seed {seed} ({counts})."
    return Corpus.of(rows, corpus.name), line


def _groups(corpus: Corpus) -> tuple[list[list[int]], str]:
    topics: dict[str, list[int]] = {}
    for k, row in enumerate(corpus.rows):
        if row.topic is not None:
            topics.setdefault(row.topic.casefold(), []).append(k)
    if sum(map(len, topics.values())) == len(corpus.rows) and len(topics) >= _FEW_TOPICS:
        return list(topics.values()), "by topic"
    paired = any(row.twin is not None for row in corpus.rows)
    return corpus.groups, "by twins" if paired else "row by row"


def _order(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}\x1f{name}".encode("utf-8", "surrogatepass")).hexdigest()


def _check(corpus: Corpus, found: Sequence[tuple[str | None, str]]) -> None:
    for label in LABELS:
        if not any(one == label for _, one in found):
            raise UserError(f"The corpus {corpus.name} has no {label} rows, but training needs both labels; add some.")
        for name in NEEDED_SPLITS:
            if (name, label) not in found:
                raise UserError(
                    f"The corpus {corpus.name} has too few {label} rows to split it; add rows, or a column 'split' with "
                    f"{', '.join(NEEDED_SPLITS)}."
                )
