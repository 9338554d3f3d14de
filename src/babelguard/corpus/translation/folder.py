"""Checks of the output folder, so that a command does not overwrite or drop earlier work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from babelguard.corpus import Row, load_prompts
from babelguard.corpus.text import casefolded
from babelguard.corpus.translation.checks import BLOCKING
from babelguard.corpus.translation.review import ReviewRow, read_review
from babelguard.errors import UserError, damaged
from babelguard.files import LOCK
from babelguard.languages import display_name

OUTPUT_FILES = ("translations.jsonl", "review.csv", "prompts.jsonl", "report.md")
# Only these files identify a folder as a translation. The other names also occur in run folders.
_MARKS = OUTPUT_FILES[:2]


def check_output(output: Path, path: Path, rows: Sequence[Row], codes: Sequence[str]) -> None:
    """Check that writing to a folder does not destroy other work.

    Args:
        output: The folder. It may not exist yet.
        path: The file to translate.
        rows: The rows of this file.
        codes: Target languages.

    Raises:
        UserError: If the folder cannot be read, is not a translation, contains a damaged file, belongs to another
            source file, or contains a language that would be dropped.
    """
    names = _names(output)
    # Path.resolve fails for a link to itself.
    if os.path.realpath(path) in [os.path.realpath(output / name) for name in OUTPUT_FILES]:
        raise UserError(f"The file {path} would be overwritten by its translation; choose another `output`.")
    if names and names.isdisjoint(_MARKS):
        raise UserError(
            f"The output folder {output} contains other files and is not a translation; choose another `output`."
        )
    languages, texts = _earlier(output, names)
    if texts and texts.keys().isdisjoint((row.id, casefolded(row.texts["en"])) for row in rows):
        raise UserError(
            f"{next(iter(texts.values()))} belongs to a different input file than {path} (they have no row with the same id and "
            "English text in common); choose another `output`."
        )
    own = rows[0].texts.keys()
    dropped = [code for code in languages if code not in own and code not in codes]
    if dropped:
        every = dict.fromkeys([*(code for code in languages if code not in own), *codes])
        raise UserError(
            f"{languages[dropped[0]]} also contains {', '.join(map(display_name, dropped))}; use `to` {','.join(every)} to "
            f"keep {'it' if len(dropped) == 1 else 'them'}, or choose another `output`."
        )


def _names(output: Path) -> set[str]:
    try:
        if output.is_file():
            raise UserError(f"The output {output} is a file, not a folder; choose another `output`.")
        return {file.name for file in output.iterdir()} - {LOCK}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise UserError(
            f"The output folder {output} cannot be read ({error.strerror or error}); choose another `output`."
        ) from None


def _earlier(output: Path, names: set[str]) -> tuple[dict[str, Path], dict[tuple[str, str], Path]]:
    """Return the languages, and the ids with their English texts, each with the file that contains it."""
    prompts, review = output / "prompts.jsonl", output / "review.csv"
    languages: dict[str, Path] = {}
    texts: dict[tuple[str, str], Path] = {}
    if prompts.name in names:
        try:
            corpus = load_prompts(prompts)
        except UserError as error:
            raise UserError(damaged(prompts, str(error).rstrip("."))) from None
        languages = dict.fromkeys(corpus.languages, prompts)
        texts = {(row.id, casefolded(row.texts.get("en", ""))): prompts for row in corpus.rows}
    for row in read_review(review).values():
        texts.setdefault((row.id, casefolded(row.en)), review)
        if _would_be_lost(row):
            languages.setdefault(row.language, review)
    return languages, texts


def _would_be_lost(row: ReviewRow) -> bool:
    """Whether a usable row of the review file would be lost if its language is dropped.

    Rows that a person edited are always kept. A language without usable rows may be dropped, because no row would be
    complete with it.
    """
    return bool(row.machine) and not row.edited and not set(row.flags.split()) & set(BLOCKING)
