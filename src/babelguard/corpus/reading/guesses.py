"""Check guesses and options: the columns that the user names, and the language of prompts that was assumed."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from babelguard.corpus.header import column_of
from babelguard.corpus.reading.assemble import Assembled
from babelguard.corpus.reading.meaning import Meaning
from babelguard.corpus.reading.options import PromptOptions
from babelguard.corpus.reading.table import Table
from babelguard.errors import UserError
from babelguard.language_id import identifier
from babelguard.languages import LANGUAGES, display_name

# An assumed language is checked on this many texts. The script is clear from few letters, the language from many.
_SAMPLE, _FEW_LETTERS, _MANY_LETTERS = 50, 10, 150
_CLEARLY = 0.99


def check_columns(tables: Sequence[Table], options: PromptOptions) -> None:
    """Check that every column that the user names is in one of the files.

    Raises:
        UserError: If one is not.
    """
    for key, name in options.columns.items():
        if not any(table.find(name) for table in tables):
            raise UserError(f"{tables[0].described()}, but not '{name}'; set `columns` {key}= to one of them.")
    column = options.label_column
    if column is not None and not any(table.find(column) for table in tables):
        raise UserError(f"{tables[0].described()}, but not '{column}'; set `label_column` to one of them.")


def check_language(table: Table, meaning: Meaning, assembled: Assembled) -> None:
    """Check that prompts whose language was assumed are not clearly in another language.

    Raises:
        UserError: If they are.
    """
    if meaning.assumed is None:
        return
    texts = [row.texts[meaning.assumed] for row, _ in assembled.rows[:_SAMPLE] if meaning.assumed in row.texts]
    letters = [char for char in " ".join(texts) if char.isalpha()]
    if len(letters) < _FEW_LETTERS:
        return
    model, known = identifier()
    found, probability = model.rank(" ".join(texts))[0]
    latin = sum("LATIN" in unicodedata.name(char, "") for char in letters) * 2 > len(letters)
    other_script = latin != (LANGUAGES[meaning.assumed].script == "Latn")
    sure = len(letters) >= _MANY_LETTERS and probability > _CLEARLY and meaning.assumed in known
    if found != meaning.assumed and (sure or other_script):
        column = meaning.texts[meaning.assumed]
        raise UserError(
            f"The column '{column}' of {table.path} was taken as {display_name(meaning.assumed)} but looks like "
            f"{display_name(found)}; set `columns` to its language, for example {column_of(found)}={column}."
        )
