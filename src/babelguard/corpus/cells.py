"""What the characters of a field come to: what counts as text, what nobody sees, how it is shown."""

from __future__ import annotations

import re
import unicodedata

# Not str.splitlines, which also breaks at characters that a prompt may hold, such as U+2028.
LINE_END = re.compile(r"\r\n|\r|\n")


def clean(text: str) -> str:
    """A field as it is kept: NFC and stripped, its line ends LF; empty if nothing of it can be seen."""
    # Line ends inside a cell change with the file's own, which the digest shall not see.
    return "" if is_empty(text) else unicodedata.normalize("NFC", LINE_END.sub("\n", text)).strip()


def is_empty(text: str) -> bool:
    """Whether nothing of a field can be seen: zero-width characters alone are no text either."""
    return not any(char.isprintable() and not char.isspace() for char in text)


def hidden_fault(text: str) -> str | None:
    """What is wrong with a name or a label that holds a character which nobody sees, None if it holds none."""
    hidden = next((char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")), None)
    return None if hidden is None else f"holds the invisible character U+{ord(hidden):04X}; remove it"
