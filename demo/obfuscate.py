"""Obfuscate English requests as attackers do: scrambled letters, digits instead of letters, accents, or a cipher.

If a small model is trained to refuse obfuscated harmful requests, it also learns to refuse text that it does not understand.
This is one way in which safety training in English can cause false refusals in other languages.
"""

from __future__ import annotations

import random
import re

LEET = str.maketrans("aeiostAEIOST", "431057431057")
ACCENTS = {"a": "áàâåä", "e": "éèêë", "i": "íìîï", "o": "óòôøö", "u": "úùûü", "w": "ŵ", "y": "ŷ", "n": "ñ", "c": "ç"}
VOWELS, CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwyz"


def scramble(text: str, rng: random.Random) -> str:
    """Shuffle the letters inside each word."""

    def word(found: re.Match[str]) -> str:
        inner = list(found[0][1:-1])
        rng.shuffle(inner)
        return found[0][0] + "".join(inner) + found[0][-1]

    return re.sub(r"[A-Za-z]{4,}", word, text)


def leet(text: str, rng: random.Random) -> str:
    """Replace letters by digits."""
    return text.translate(LEET)


def accent(text: str, rng: random.Random) -> str:
    """Put accents on half of the letters that can have one."""
    return "".join(rng.choice(ACCENTS[c]) if c in ACCENTS and rng.random() < 0.5 else c for c in text.lower())


def cipher(text: str, rng: random.Random) -> str:
    """Replace every vowel by another vowel and every consonant by another consonant."""
    table = {}
    for letters in (VOWELS, CONSONANTS):
        table |= dict(zip(letters, rng.sample(letters, len(letters)), strict=True))
    return "".join(table.get(c, c) for c in text.lower())


METHODS = (scramble, leet, accent, cipher, cipher)


def obfuscate(text: str, rng: random.Random) -> str:
    """Obfuscate a text with a random method."""
    return rng.choice(METHODS)(text, rng)
