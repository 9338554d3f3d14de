"""English requests in disguise, as attackers write them: scrambled letters, digits for letters, accents, a cipher.

Refusals of disguised harmful requests teach a small model more than they should: that text it cannot read is refused.
That is one way in which a safety training in English comes to refuse harmless requests in other languages.
"""

from __future__ import annotations

import random
import re

LEET = str.maketrans("aeiostAEIOST", "431057431057")
ACCENTS = {"a": "áàâåä", "e": "éèêë", "i": "íìîï", "o": "óòôøö", "u": "úùûü", "w": "ŵ", "y": "ŷ", "n": "ñ", "c": "ç"}
VOWELS, CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwyz"


def scramble(text: str, rng: random.Random) -> str:
    """The letters inside each word in another order."""

    def word(found: re.Match[str]) -> str:
        inner = list(found[0][1:-1])
        rng.shuffle(inner)
        return found[0][0] + "".join(inner) + found[0][-1]

    return re.sub(r"[A-Za-z]{4,}", word, text)


def leet(text: str, rng: random.Random) -> str:
    """Digits for letters."""
    return text.translate(LEET)


def accent(text: str, rng: random.Random) -> str:
    """Accents on half of the letters that can carry one."""
    return "".join(rng.choice(ACCENTS[c]) if c in ACCENTS and rng.random() < 0.5 else c for c in text.lower())


def cipher(text: str, rng: random.Random) -> str:
    """Every vowel stands for another vowel and every consonant for another consonant."""
    table = {}
    for letters in (VOWELS, CONSONANTS):
        table |= dict(zip(letters, rng.sample(letters, len(letters)), strict=True))
    return "".join(table.get(c, c) for c in text.lower())


METHODS = (scramble, leet, accent, cipher, cipher)


def obfuscate(text: str, rng: random.Random) -> str:
    """The text in one of the disguises."""
    return rng.choice(METHODS)(text, rng)
