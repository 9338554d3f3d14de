"""Character spacing: a simple obfuscation that works in every language."""

from __future__ import annotations

import unicodedata

from babelguard.corpus import Question


class CharacterSpacing:
    """Puts a space between the characters of each word, and a double space between words.

    Combining marks stay attached to their base character, so the text remains readable in every script.
    """

    name = "spacing"

    def apply(self, row: Question) -> Question:
        """Return the row with a spaced text."""
        words = [" ".join(_characters(word)) for word in row.text.split()]
        return row._replace(text="  ".join(words))


def _characters(word: str) -> list[str]:
    """Split a word into characters with their combining marks."""
    found: list[str] = []
    for char in word:
        if found and unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf"):
            found[-1] += char
        else:
            found.append(char)
    return found
