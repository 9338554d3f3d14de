"""Column names of corpus files, and the checks of a file's header."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from babelguard.corpus.text import hidden_fault
from babelguard.errors import UserError
from babelguard.files import FileFault
from babelguard.languages import COUNTRY_CODES, LANGUAGES, OLD_CODES
from babelguard.languages import language as look_up

REQUIRED = ("id", "label")
METADATA = ("split", "expected", "category", "topic", "twin", "licence", "maker", "checker", "note")
# Fields that are compared exactly, and so must not contain invisible characters.
EXACT = ("id", "label", "split", "expected", "twin")
# The column `id` is the row id. Indonesian has the same code, so its column is named `id-ID`.
INDONESIAN = "id-ID"
# Common names for the text column of a file in one language.
_ANY_LANGUAGE = ("prompt", "prompts", "text", "texts")


def column_language(column: str) -> str | None:
    """Return the language code of a column, or None if it is not a language column."""
    if column == INDONESIAN:
        return "id"
    return column if column in LANGUAGES and column not in REQUIRED else None


def column_of(code: str) -> str:
    """Return the name of a language's column."""
    return INDONESIAN if code == "id" else code


def language_code(name: str) -> str:
    """Return the code of a language given by its code or its column name (`id-ID`)."""
    return column_language(name) or name


def mistake(path: Path, line: int, what: str) -> UserError:
    """Create the error for one line of a file."""
    return UserError(f"In line {line} of {path}, {what}.")


def explained(error: FileFault, advice: str) -> UserError:
    """Create the error for a file of prompts that cannot be read.

    Args:
        error: What is wrong with it.
        advice: What to give instead of a folder.
    """
    if error.line is not None:
        return mistake(error.path, error.line, error.why)
    if error.folder:
        return UserError(f"{error.path} is a folder; {advice}.")
    return error if error.missing else UserError(f"The file {error.path} cannot be read ({error.why}).")


def check_no_repeat(path: Path, line: int, names: Sequence[str]) -> None:
    """Check that no column occurs twice.

    Raises:
        UserError: If one does.
    """
    repeated = next((name for k, name in enumerate(names) if name and name in names[:k]), None)
    if repeated is not None:
        hint = f" (the column for Indonesian is '{INDONESIAN}')" if repeated == "id" else ""
        raise mistake(path, line, f"the column '{repeated}' occurs twice; keep one{hint}")


def check_columns(path: Path, line: int, names: Sequence[str]) -> None:
    """Check the column names.

    Raises:
        UserError: If a column is unknown, or id, label or a language is missing.
    """
    plain = (*REQUIRED, *METADATA)
    for number, name in enumerate(names, start=1):
        if fault := name_fault(number, name):
            raise mistake(path, line, fault)
        if name not in plain and column_language(name) is None:
            what = f"is neither a known language code nor one of {', '.join(plain)}"
            raise UserError(f"In line {line}, the column '{name}' of {path} {what}: {unknown_column(name)}")
    for name in REQUIRED:
        if name not in names:
            raise mistake(path, line, f"the column '{name}' is missing; every row needs id and label")
    if all(column_language(name) is None for name in names):
        raise mistake(path, line, "there is no language column; add one named by its code, such as 'en'")


def name_fault(number: int, name: str) -> str | None:
    """Describe a column name that is missing or contains an invisible character. Returns None if it is fine."""
    if not name.strip():
        return f"column {number} has no name; name it or remove it"
    fault = hidden_fault(name)
    return None if fault is None else f"the column '{name}' {fault}"


def unknown_column(name: str) -> str:
    """Suggest what to do about a column that is neither a language nor a field."""
    if name.lower() in _ANY_LANGUAGE:
        return "name it by its language, such as en."
    if name.startswith("sep="):
        return "remove this line, which only Excel uses."
    # Almost any name of two or three letters is similar to some language code, so nothing is suggested for those.
    short = len(name) <= 3
    close = difflib.get_close_matches(name.lower(), (*REQUIRED, *METADATA), n=1, cutoff=1.0 if short else 0.7)
    if close:
        return f"did you mean '{close[0]}'?"
    if short and name.lower() not in LANGUAGES | OLD_CODES | COUNTRY_CODES:
        return (
            "babelguard does not know this language; rename or remove the column, or add the language to languages.py "
            "(see docs/extending.md)."
        )
    try:
        meant = look_up(name)
    except UserError as error:
        # The end of that message is the suggestion; it covers mistakes such as `kr` and `Korean`.
        hint = str(error).partition("is not known: ")[2].replace("'id' (", f"'{INDONESIAN}' (")
        return hint or "rename or remove it."
    return f"did you mean '{column_of(meant.code)}' ({meant.name})?"
