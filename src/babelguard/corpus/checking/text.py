"""What the characters of one cell say: decoding, normalisation, script. Pure functions from text to sentences."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

# ISO 15924 codes that stand for several Unicode scripts.
_SCRIPTS = {"Jpan": ("Hira", "Kana", "Hani"), "Kore": ("Hang", "Hani"), "Hans": ("Hani",), "Hant": ("Hani",)}
# Zero-width joiners shape letters in these scripts, and the zero-width space parts words in those.
_JOINED = ("Arab", "Beng", "Deva", "Gujr", "Khmr", "Mymr", "Sinh", "Taml", "Telu")
_UNSPACED = ("Khmr", "Mymr", "Thai")
# With fewer letters than this a share says nothing ("PDF?").
_FEW_LETTERS = 4


def folded(text: str) -> str:
    """Text by which two cells are compared: NFC, case, white space and punctuation do not count.

    A text of nothing but punctuation is compared as it is.
    """
    import regex

    lower = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    words = regex.sub(r"[\p{P}\p{S}\p{Z}\p{C}]+", " ", lower).strip()
    return words or " ".join(lower.split())


def encoding_faults(text: str) -> Iterator[str]:
    """Signs that the text was once decoded wrongly."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        yield "there are bytes that are not UTF-8, or half a surrogate pair; save it as UTF-8"
    if "\0" in text:
        yield "there is a NUL; remove it"
    if "\ufffd" in text:
        yield "there is U+FFFD, which stands where a character was lost"
    mended = _decoded_twice(text)
    if mended is not None:
        yield f"this reads as UTF-8 that was decoded as Windows-1252 or Latin-1; '{mended[:40]}' may be meant"


def _decoded_twice(text: str) -> str | None:
    # Hardly any true text is valid UTF-8 after this.
    if text.isascii():
        return None
    for codec in ("cp1252", "latin-1"):
        try:
            mended = text.encode(codec).decode("utf-8")
        except UnicodeError:
            continue
        return mended if mended != text else None
    return None


def normalisation_faults(text: str, script: str) -> Iterator[str]:
    """What the loader would change, and characters that nobody sees.

    Args:
        text: A cell.
        script: ISO 15924 code of its language, empty if that is not known.
    """
    if not unicodedata.is_normalized("NFC", text):
        yield "the text is not NFC; normalise it (the loader does)"
    if text != text.strip():
        yield "there is white space at an end; remove it"
    text = text.replace("\r\n", "\n")  # a line end, which in CSV is that of the file
    if text.isprintable():
        return
    hidden = {char for char in text if not char.isprintable() and not char.isspace()} - {"\0"}
    hidden |= set(text) & set("\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029")
    if script in _JOINED:
        hidden -= {"\u200c", "\u200d"}
    if "\u200d" in hidden and _only_in_emoji(text):
        hidden.discard("\u200d")
    if script in _UNSPACED:
        hidden.discard("\u200b")
    names = [_name(char) for char in sorted(hidden) if not "\ud800" <= char <= "\udfff"]
    if names:
        yield f"there are invisible characters: {', '.join(names)}"


def _only_in_emoji(text: str) -> bool:
    pairs = [text[max(k - 1, 0)] + text[k + 1 : k + 2] for k, char in enumerate(text) if char == "\u200d"]
    return all(len(pair) == 2 and not any(char.isalnum() for char in pair) for pair in pairs)


def _name(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, 'CONTROL')}"


def script_fault(text: str, script: str, least: float) -> str | None:
    """What is wrong with the script of a cell's letters.

    Args:
        text: A cell.
        script: ISO 15924 code of its language.
        least: Share of the letters that must be of it, 0 to 1.
    """
    letters, inside, mixed = _patterns(script)
    count = len(letters.findall(text))
    if count < _FEW_LETTERS:
        return None
    share = len(inside.findall(text)) / count
    if share < least:
        return f"{share:.0%} of its {count} letters are in the script {script}: '{text[:40]}'"
    if word := mixed.search(text):
        return f"the word '{word[0]}' mixes letters of two scripts that look alike"
    if script == "Hans":
        return _traditional(text)
    return None


@cache
def _patterns(script: str) -> tuple[Any, Any, Any]:
    import regex

    names = "".join(rf"\p{{Script={name}}}" for name in _SCRIPTS.get(script, (script,)))
    mixed = r"\w*(?:\p{Latin}[\p{Cyrillic}\p{Greek}]|[\p{Cyrillic}\p{Greek}]\p{Latin})\w*"
    return regex.compile(r"\p{L}"), regex.compile(rf"(?V1)[\p{{L}}&&[{names}]]"), regex.compile(mixed)


def _traditional(text: str) -> str | None:
    # GB 2312 is the set of simplified characters and Big5 that of traditional ones: most are in both.
    han = [char for char in text if "\u4e00" <= char <= "\u9fff"]
    simple = [char for char in han if _in(char, "gb2312") and not _in(char, "big5")]
    old = [char for char in han if _in(char, "big5") and not _in(char, "gb2312")]
    if len(old) > max(1, len(simple)):
        return f"the characters are traditional ({''.join(old[:6])}), and the language is stored in simplified ones"
    return None


@cache
def _in(char: str, codec: str) -> bool:
    try:
        char.encode(codec)
    except UnicodeEncodeError:
        return False
    return True
