"""Choose the placeholder tokens of a soft prompt, and break them up in texts."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any

from babelguard.prompt.template import templates_of

# Names of reserved tokens in known tokenizers. The number gives their order.
RESERVED = re.compile(
    r"^(?:<unused_?(?:token_)?(\d+)>|\[unused(\d+)\]|<\|reserved_special_token_(\d+)\|>|<\|reserved_(\d+)\|>"
    r"|<SPECIAL_(\d+)>|<\|extra_(\d+)\|>|<\|unused_?(\d+)\|>|<reserved_token_(\d+)>)$"
)
OWN_NAME = "<|babelguard_{}|>"
# From an ASCII character to its full-width form.
WIDE = 0xFEE0
# Characters that many normalisers remove: combining accent, zero-width space and joiner, soft hyphen, byte order mark.
INVISIBLE = "\u0301\u200b\u200d\u00ad\ufeff"


def choose_tokens(
    tokenizer: Any, count: int, embedding_rows: int, in_use: Collection[int | None] = ()
) -> tuple[list[str], str]:
    """Choose `count` reserved tokens of the tokenizer as placeholders, or new ones if there are not enough.

    Args:
        tokenizer: The tokenizer.
        count: The number of placeholders.
        embedding_rows: The number of rows of the model's embedding table.
        in_use: Ids that the model uses otherwise, such as its end-of-sequence ids.

    Returns:
        The placeholder strings, and the source of their ids (see `babelguard.prompt.slot.Slot`).
    """
    template = "\n".join(templates_of(tokenizer).values())
    # Fine-tuned models often have a reserved token as their padding token.
    roles = set(tokenizer.special_tokens_map.values())
    found: list[tuple[int, str]] = []
    for token, index in tokenizer.get_vocab().items():
        match = RESERVED.match(token)
        if match and index < embedding_rows and index not in in_use and token not in template and token not in roles:
            found.append((int(next(group for group in match.groups() if group is not None)), token))
    safe = (token for _, token in sorted(found) if not is_reachable(tokenizer, token))
    if len(chosen := list(islice(safe, count))) == count:
        return chosen, "reserved"
    names = [OWN_NAME.format(k) for k in range(count)]
    return names, "spare" if len(tokenizer) + count <= embedding_rows else "appended"


def is_reachable(tokenizer: Any, token: str) -> bool:
    """Return whether the normaliser of a tokenizer turns another text into a token.

    A chat template cannot find such a text, for example full-width letters, and break it up.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and (backend.normalizer is None or token not in _pieces(tokenizer, token)):
        return False
    wide = token.translate({code: code + WIDE for code in range(0x21, 0x7F)})
    inserted = (token[:2] + more + token[2:] for more in (*INVISIBLE, *string.printable))
    return any(token in _pieces(tokenizer, text) for text in (wide, token.swapcase(), *inserted))


def _pieces(tokenizer: Any, text: str) -> set[str]:
    """Return the tokens of a text, alone and within words, as if no token had been added to the vocabulary."""
    found: set[str] = set()
    backend = getattr(tokenizer, "backend_tokenizer", None)
    for given in (text, f"a {text} a", f"a{text}a"):
        if backend is None:
            found.update(tokenizer._tokenize(given))
            continue
        normal = given if backend.normalizer is None else backend.normalizer.normalize_str(given)
        splitter = backend.pre_tokenizer
        words = [normal] if splitter is None else [word for word, _ in splitter.pre_tokenize_str(normal)]
        found.update(token.value for word in words for token in backend.model.tokenize(word))
    return found


def break_up(text: str, tokens: Iterable[str]) -> str:
    """Put a space after the first character of every placeholder in a text, as the chat template does."""
    for token in tokens:
        if token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
