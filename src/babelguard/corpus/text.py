"""Cleaning and comparing the text of a field."""

from __future__ import annotations

import unicodedata

from babelguard.files import LINE_END


def clean(text: str) -> str:
    """Normalise a field: NFC, stripped, line ends as LF. Returns '' if it has no visible character."""
    # Line ends inside a cell depend on those of the file, and must not affect the digest.
    return "" if is_empty(text) else unicodedata.normalize("NFC", LINE_END.sub("\n", text)).strip()


def is_empty(text: str) -> bool:
    """Whether a field has no visible character. Zero-width characters do not count as text."""
    return not any(char.isprintable() and not char.isspace() for char in text)


def casefolded(text: str) -> str:
    """Fold case and white space. Two rows with the same result in one language are duplicates."""
    return " ".join(unicodedata.normalize("NFC", text.casefold()).split())


def hidden_fault(text: str) -> str | None:
    """Describe an invisible character in a name or label. Returns None if there is none."""
    hidden = next((char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")), None)
    return None if hidden is None else f"contains the invisible character U+{ord(hidden):04X}; remove it"
