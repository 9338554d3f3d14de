"""Tables of the languages and of the rows of a corpus."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from babelguard.corpus.header import language_code
from babelguard.corpus.schema import SPLITS, Corpus
from babelguard.errors import UserError
from babelguard.judges import LABELS
from babelguard.languages import LANGUAGES, display_name
from babelguard.languages import language as look_up

_UNSPLIT = "unsplit"


def describe_languages(corpus: Corpus) -> list[dict[str, Any]]:
    """Describe each language of a corpus and count its rows per split, sorted by code.

    If there are rows without a split, they are counted as `unsplit`.
    """
    rows: dict[str, dict[str, int]] = {}
    splits = [*SPLITS, *([_UNSPLIT] if any(row.split is None for row in corpus.rows) else [])]
    for row in corpus.rows:
        for code in row.texts:
            counts = rows.setdefault(code, dict.fromkeys(splits, 0))
            counts[row.split or _UNSPLIT] += 1
    described = []
    for code in sorted(rows):
        known = LANGUAGES[code]
        described.append(
            {
                "code": code,
                "name": known.name,
                "native_name": known.native_name,
                "script": known.script,
                "family": known.family,
                "resource": known.resource,
                "direction": known.direction,
                "rows": rows[code],
            }
        )
    return described


def language_table(described: Sequence[dict[str, Any]]) -> Table:
    """Format the result of `describe_languages` as a table."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in ("code", "name", "native name", "script", "family", "tier"):
        table.add_column(name, overflow="fold")
    splits = list(described[0]["rows"]) if described else []
    for split in splits:
        table.add_column(split, justify="right")
    for one in described:
        script = f"{one['script']} rtl" if one["direction"] == "rtl" else one["script"]
        names = (one["code"], one["name"], one["native_name"], script, one["family"], one["resource"])
        table.add_row(*names, *(str(one["rows"][split] or "-") for split in splits))
    return table


def row_table(
    corpus: Corpus, language: str, *, split: str | None = None, label: str | None = None, limit: int = 20
) -> tuple[Table, int]:
    """Format rows in English and in one language as a table.

    Texts are printed in logical order. The terminal is responsible for the layout of right-to-left scripts.

    Args:
        corpus: The corpus.
        language: Language code (Indonesian: `id` or `id-ID`).
        split: One split, or None for all.
        label: One label, or None for both.
        limit: Maximum number of rows in the table.

    Returns:
        The table, and the number of matching rows that are not in it.

    Raises:
        UserError: If the language, split or label is unknown, or no row matches.
    """
    if label is not None and label not in LABELS:
        raise UserError(f"'{label}' is not a label; use {' or '.join(LABELS)}.")
    language = language_code(language)
    look_up(language)
    rows = (corpus if split is None else corpus.split(split)).rows
    rows = tuple(row for row in rows if label is None or row.label == label)
    kept = [row for row in rows if language in row.texts]
    if not kept:
        where = f" of the split '{split}'" if split else ""
        have = sorted({code for row in rows for code in row.texts})
        raise UserError(
            f"No row{where} has the language '{language}'; available languages: {', '.join(have) or 'none'}."
        )
    shown = [code for code in dict.fromkeys(("en", language)) if code == language or any("en" in r.texts for r in kept)]
    table = Table(show_lines=True)
    table.add_column("id", no_wrap=True)
    table.add_column("label", no_wrap=True)
    for code in shown:
        right = LANGUAGES[code].direction == "rtl"
        table.add_column(escape(display_name(code)), justify="right" if right else "left", overflow="fold", ratio=1)
    for row in kept[:limit]:
        table.add_row(Text(_safe(row.id)), row.label, *(Text(_safe(row.texts.get(code, ""))) for code in shown))
    return table, max(0, len(kept) - limit)


def _safe(text: str) -> str:
    """Replace control characters and direction marks, which a terminal would interpret, with their code points."""
    directions = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    unsafe = {
        char for char in text if (unicodedata.category(char) in ("Cc", "Cs") and char != "\n") or char in directions
    }
    return "".join(f"\\u{ord(char):04x}" if char in unsafe else char for char in text)
