"""Text folding for the pattern judge: case, accents, letter variants, quotes and punctuation are removed."""

from __future__ import annotations

import unicodedata
from functools import cache

_STOPS = frozenset(".!?。！？।۔؟…።፧፨\n\r")
# Accents, Arabic vowel marks and hamza, tatweel, and the Indic nukta. Other marks are kept: they are letters of their script.
_DROPPED = {*range(0x300, 0x370), *range(0x64B, 0x660), 0x670, *range(0x6D6, 0x6DD), 0x640, 0x93C, 0x9BC}
_APOSTROPHES = dict.fromkeys(map(ord, "’‘ʼ´`"), "'")
_ALIASES = {"HIRAGANA": "KANA", "KATAKANA": "KANA", "KATAKANA-HIRAGANA": "KANA", "FULLWIDTH": "LATIN"}


class Fold(dict[int, str]):
    """A translation table for `str.translate` that is filled on first use of each character."""

    def __init__(self, letters: dict[str, str]) -> None:
        super().__init__((ord(key), value) for key, value in letters.items())

    def __missing__(self, code: int) -> str:
        char, kind = chr(code), unicodedata.category(chr(code))
        if char in _STOPS:
            self[code] = " . "
        elif code in _DROPPED or (kind in ("Cf", "Cc") and not char.isspace()):
            self[code] = ""
        elif kind[0] in "PSZ" or char.isspace() or kind == "Cs":
            self[code] = "'" if char == "'" else " "
        else:
            self[code] = char
        return self[code]


def fold_marks(text: str, table: Fold) -> str:
    """Fold letters and drop accents, without touching spaces and case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).translate(table))


def fold(text: str, table: Fold) -> str:
    """Fold letters, write each sentence end as a separate '.', and drop all other marks."""
    # Two Ethiopic word marks are a common way to type that script's full stop.
    # Before NFKC, which writes an acute accent that is used as an apostrophe as a space and an accent.
    text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold().replace("፡፡", "።")
    return " ".join(fold_marks(text, table).split())


class KeepSyntax(Fold):
    """Folds the letters of a pattern like those of a text, but keeps ASCII, which is regular expression syntax."""

    def __missing__(self, code: int) -> str:
        return chr(code) if code < 0x80 else super().__missing__(code)


@cache
def script(char: str) -> str:
    """Return the script of a letter: the first word of its Unicode name. Returns '' for other characters."""
    word = unicodedata.name(char, "UNNAMED").split()[0]
    # Combining accents have no script of their own.
    if unicodedata.category(char)[0] not in "LM" or word in ("COMBINING", "MODIFIER", "VARIATION"):
        return ""
    return _ALIASES.get(word, word)
