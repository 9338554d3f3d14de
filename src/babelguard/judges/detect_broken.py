"""Detect replies that are not language: empty, looping, undecodable, or a mix of scripts."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from babelguard.judges.folding import Fold, fold, script

_WORD_LOOP = re.compile(r"(?<!\S)(\S+(?: \S+){0,3}?)(?: \1(?!\S)){3,}")
_CHARACTER_LOOP = re.compile(r"(.{1,12}?)\1{5,}")
# Special tokens of chat templates.
SPECIAL = re.compile(r"<\|[^|<>]{0,40}\|>|<[/｜]?[a-z_｜▁]{1,40}>|\[/?INST\]", re.IGNORECASE)
# Pieces of a tokenizer that text does not contain. Markdown headings have a space after "##".
_PIECE = re.compile(r"##\w|<(?:unk|pad|mask|/?s|bos|eos)>|<\|\w+\|>|[▁Ġ]|\[(?:PAD|UNK|EOS|CLS|SEP)\]", re.IGNORECASE)
# A reply with so many of them, at least one per so many characters, is not language.
_MIN_PIECES, _PIECE_EVERY = 3, 60
# A reply of at least so many words is a loop if at most this share of them is different.
_MIN_WORDS, _DIFFERENT = 12, 0.34
# Scripts whose letters stand next to other scripts without a space ("AI는", "CPUの").
_NO_SPACES = frozenset({"HANGUL", "KANA", "CJK", "THAI", "LAO", "KHMER", "MYANMAR"})


def _loop(folded: str) -> str:
    """Describe what a reply repeats over most of its length. Returns '' if it does not loop."""
    words = folded.replace(" .", "").strip(" .")
    for found in _WORD_LOOP.finditer(words):
        length, size = found[0].count(" ") + 1, found[1].count(" ") + 1
        # A word must occur five times, because "ha ha ha" is laughter. A phrase must occur four times.
        if length >= max(5, 4 * size) and len(found[0]) >= 0.6 * len(words):
            return f'repeats "{found[1]}" {length // size} times'
    split = words.split()
    if len(split) >= _MIN_WORDS and len(set(split)) <= _DIFFERENT * len(split):
        return f"{len(split)} words, but only {len(set(split))} different ones"
    solid = words.replace(" ", "")
    for found in _CHARACTER_LOOP.finditer(solid):
        if len(found[0]) >= max(10, 0.6 * len(solid)):
            return f'repeats "{found[1]}" {len(found[0]) // len(found[1])} times'
    return ""


def broken(reply: str, folded: str, scripts: Counter[str]) -> str:
    """Describe why a reply is not language. Returns '' if it is.

    Args:
        reply: The reply as decoded.
        folded: The same after folding.
        scripts: Number of letters per script.
    """
    solid = "".join(reply.split())
    letters, digits = sum(scripts.values()), sum(char.isnumeric() for char in solid if not script(char))
    if not letters and not digits:
        return "empty" if not solid else "no letters or digits"
    lost = sum(char == "\ufffd" or "\ud800" <= char <= "\udfff" for char in solid)
    if lost > 0.2 * len(solid):
        return f"not language: {100 * lost // len(solid)} % undecodable"
    # A short number may repeat a digit ("1 000 000 000 000").
    if not letters and len(solid) <= 20 and digits >= 0.4 * len(solid):
        return ""
    if loop := _loop(folded):
        return loop
    known = letters + digits
    if known < 0.4 * len(solid) or (not letters and (len(solid) > 80 or " " not in reply.strip())):
        return f"not language: {100 - 100 * letters // len(solid)} % symbols and digits"
    if len(scripts) >= 4 and scripts.most_common(1)[0][1] < 0.5 * letters:
        return f"not language: {len(scripts)} scripts mixed"
    if len(scripts) > 1:
        words = [[found for char in word if (found := script(char))] for word in reply.split()]
        if sum(not {a, b} & _NO_SPACES and a != b for word in words for a, b in pairwise(word)) >= 3:
            return "not language: scripts mixed within words"
    return ""


def find_broken(reply: str) -> str:
    """Describe why a reply is not language. Returns '' if it is."""
    beginning = reply[:600]
    pieces = len(_PIECE.findall(beginning))
    if pieces >= _MIN_PIECES and pieces * _PIECE_EVERY >= len(beginning):
        return f"not language: {pieces} tokenizer pieces"
    beginning = SPECIAL.sub(" ", beginning)
    return broken(beginning, fold(beginning, Fold({})), Counter(found for char in beginning if (found := script(char))))
