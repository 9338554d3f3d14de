"""Read a corpus to train on from any file of prompts, with the checks for authors and with splits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from babelguard.corpus.header import column_language
from babelguard.corpus.load import LocatedRow, check_unique, load_corpus
from babelguard.corpus.reading.assemble import Assembled, assemble
from babelguard.corpus.reading.describe import describe_file
from babelguard.corpus.reading.formats import read_table
from babelguard.corpus.reading.guesses import check_columns, check_language
from babelguard.corpus.reading.meaning import understand
from babelguard.corpus.reading.options import PromptOptions
from babelguard.corpus.reading.split import split_by_group
from babelguard.corpus.reading.table import Table
from babelguard.corpus.schema import Corpus
from babelguard.errors import UserError


@dataclass(frozen=True)
class CorpusFile:
    """A corpus, and what to say about how it was read and split.

    Attributes:
        corpus: The rows, each with a split.
        lines: One line for a file that is not in babelguard's format, and one for a split that was made.
    """

    corpus: Corpus
    lines: tuple[str, ...] = ()


def read_corpus(path: Path | None = None, options: PromptOptions | None = None, *, seed: int = 0) -> CorpusFile:
    """Read a corpus to train on.

    Files in babelguard's format and folders are read with `load_corpus`. Other files are read like files of prompts, but
    their texts must be unique, and every row must have all languages. A corpus without splits is split by group.

    Args:
        path: A file or folder, or None for the built-in corpus.
        options: What the user says about the columns of a file.
        seed: Random seed of the split.

    Raises:
        UserError: At the first mistake.
    """
    options = options or PromptOptions()
    if path is None or path.is_dir():
        if options:
            raise UserError("`columns`, `label_column` and `harmful` need a `corpus` that is a single file; name one.")
        found = CorpusFile(load_corpus(path))
    else:
        found = _read_file(path, options)
    if any(row.split is not None for row in found.corpus.rows):
        return found
    corpus, line = split_by_group(found.corpus, seed)
    return CorpusFile(corpus, (*found.lines, line))


def _read_file(path: Path, given: PromptOptions) -> CorpusFile:
    options = replace(given, both_labels=True)
    table = read_table(path, options.named)
    if not given and path.suffix.lower() in (".csv", ".jsonl") and _names_own_columns(table):
        return CorpusFile(load_corpus(path))
    check_columns([table], options)
    meaning = understand(table, options)
    assembled = assemble(table, meaning)
    check_language(table, meaning, assembled)
    _check_complete(table, assembled)
    located = [LocatedRow(row, path, place) for row, place in assembled.rows]
    check_unique(located)
    corpus = Corpus.of((row for row, _ in assembled.rows), path.name)
    return CorpusFile(corpus, (describe_file(table, meaning, assembled),))


def _names_own_columns(table: Table) -> bool:
    """Whether the file is meant to be in babelguard's format. Its other columns are then mistakes."""
    names = set(table.columns)
    return {"id", "label"} <= names and any(column_language(name) is not None for name in names)


def _check_complete(table: Table, assembled: Assembled) -> None:
    if assembled.unlabelled:
        raise UserError(
            f"{table.path} has rows without a label ({assembled.unlabelled}); label or remove them before training."
        )
    for row, place in assembled.rows:
        lacking = next((code for code in assembled.languages if code not in row.texts), None)
        if lacking is not None:
            what = f"the row '{row.id}' has no text in the language '{lacking}'; fill it or remove the row"
            raise UserError(f"In {table.unit} {place} of {table.path}, {what}.")
