"""A corpus as tables: its languages, and its rows beside English."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from babelguard.corpus.schema import LABELS, SPLITS, Corpus, language_code
from babelguard.errors import UserError
from babelguard.languages import LANGUAGES, display_name
from babelguard.languages import language as look_up

_UNSPLIT = "unsplit"


def describe_languages(corpus: Corpus) -> list[dict[str, Any]]:
    """What is known of each language of a corpus, with its rows by split, in the order of the codes.

    Rows without a split are counted as `unsplit`, if there are any.
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
    """What `describe_languages` found, for the screen."""
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
    """Rows that have a language, beside English.

    Text goes to the terminal as it is stored: it is the terminal that sets right-to-left scripts in their order.

    Args:
        corpus: Where the rows are.
        language: Code; Indonesian: `id` or `id-ID`.
        split: One split, None: all.
        label: One label, None: both.
        limit: Rows in the table.

    Returns:
        The table, and how many rows it leaves out.

    Raises:
        UserError: for an unknown language, split or label, and where no row is left.
    """
    if label is not None and label not in LABELS:
        raise UserError(f"'{label}' is no label; use {' or '.join(LABELS)}.")
    language = language_code(language)
    look_up(language)
    rows = (corpus if split is None else corpus.split(split)).rows
    rows = tuple(row for row in rows if label is None or row.label == label)
    kept = [row for row in rows if language in row.texts]
    if not kept:
        where = f" of the split {split}" if split else ""
        have = sorted({code for row in rows for code in row.texts})
        raise UserError(
            f"No row{where} has the language '{language}'; there {'are' if have else 'is'} {', '.join(have) or 'none'}."
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
    """Text without what a terminal obeys: control characters, and marks that turn the direction of what follows."""
    turning = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    obeyed = {char for char in text if (unicodedata.category(char) in ("Cc", "Cs") and char != "\n") or char in turning}
    return "".join(f"\\u{ord(char):04x}" if char in obeyed else char for char in text)
