"""Checks of the characters of one cell: encoding, normalisation and script."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

# ISO 15924 codes that comprise several Unicode scripts.
_SCRIPTS = {"Jpan": ("Hira", "Kana", "Hani"), "Kore": ("Hang", "Hani"), "Hans": ("Hani",), "Hant": ("Hani",)}
# Zero-width joiners are part of the spelling in the first group of scripts, zero-width spaces in the second.
_JOINED = ("Arab", "Beng", "Deva", "Gujr", "Khmr", "Mymr", "Sinh", "Taml", "Telu")
_UNSPACED = ("Khmr", "Mymr", "Thai")
# Texts with fewer letters ("PDF?") are too short to check the script.
_MIN_LETTERS = 4


def fold_punctuation(text: str) -> str:
    """Fold case, white space and punctuation, to compare cells.

    If a text consists of punctuation only, the punctuation is kept.
    """
    import regex

    lower = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    words = regex.sub(r"[\p{P}\p{S}\p{Z}\p{C}]+", " ", lower).strip()
    return words or " ".join(lower.split())


def encoding_faults(text: str) -> Iterator[str]:
    """Yield a message for each sign that the text was decoded with the wrong encoding."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        yield "there are bytes that are not UTF-8, or an unpaired surrogate; save the file as UTF-8"
    if "\0" in text:
        yield "there is a NUL character; remove it"
    if "\ufffd" in text:
        yield "there is U+FFFD, which replaces a character that could not be decoded"
    repaired = _decoded_twice(text)
    if repaired is not None:
        yield f"the text looks like UTF-8 decoded as Windows-1252 or Latin-1; the correct text may be '{repaired[:40]}'"


def _decoded_twice(text: str) -> str | None:
    # Correct text is almost never valid UTF-8 after this conversion.
    if text.isascii():
        return None
    for codec in ("cp1252", "latin-1"):
        try:
            repaired = text.encode(codec).decode("utf-8")
        except UnicodeError:
            continue
        return repaired if repaired != text else None
    return None


def normalisation_faults(text: str, script: str) -> Iterator[str]:
    """Yield a message for each change that the loader would make, and for invisible characters.

    Args:
        text: A cell.
        script: ISO 15924 code of its language, or '' if unknown.
    """
    if not unicodedata.is_normalized("NFC", text):
        yield "the text is not NFC; normalise it (the loader does so)"
    if text != text.strip():
        yield "there is whitespace at the beginning or end; remove it"
    text = text.replace("\r\n", "\n")  # in CSV, line ends inside cells may be those of the file
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


def script_fault(text: str, script: str, minimum: float) -> str | None:
    """Describe letters of the wrong script. Returns None if there is no problem.

    Args:
        text: A cell.
        script: ISO 15924 code of its language.
        minimum: Minimum share of letters in this script, 0 to 1.
    """
    letters, inside, mixed = _patterns(script)
    count = len(letters.findall(text))
    if count < _MIN_LETTERS:
        return None
    share = len(inside.findall(text)) / count
    if share < minimum:
        return f"only {share:.0%} of its {count} letters are in the script {script}: '{text[:40]}'"
    if word := mixed.search(text):
        return f"the word '{word[0]}' mixes similar letters of two scripts"
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
    # GB 2312 contains the simplified characters and Big5 the traditional ones. Most characters are in both.
    han = [char for char in text if "\u4e00" <= char <= "\u9fff"]
    simple = [char for char in han if _in(char, "gb2312") and not _in(char, "big5")]
    old = [char for char in han if _in(char, "big5") and not _in(char, "gb2312")]
    if len(old) > max(1, len(simple)):
        return f"the text has traditional characters ({''.join(old[:6])}), but 'zh' uses simplified ones"
    return None


@cache
def _in(char: str, codec: str) -> bool:
    try:
        char.encode(codec)
    except UnicodeEncodeError:
        return False
    return True
