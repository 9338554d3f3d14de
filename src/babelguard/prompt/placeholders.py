"""Choose the placeholder tokens of a soft prompt."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from babelguard.prompt.template import templates_of

# Names of reserved tokens in known tokenizers. The number gives their order.
RESERVED = re.compile(
    r"^(?:<unused_?(?:token_)?(\d+)>|\[unused(\d+)\]|<\|reserved_special_token_(\d+)\|>|<\|reserved_(\d+)\|>"
    r"|<SPECIAL_(\d+)>|<\|extra_(\d+)\|>|<\|unused_?(\d+)\|>|<reserved_token_(\d+)>)$"
)
OWN_NAME = "<|babelguard_{}|>"


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
    if len(found) >= count:
        return [token for _, token in sorted(found)[:count]], "reserved"
    names = [OWN_NAME.format(k) for k in range(count)]
    return names, "spare" if len(tokenizer) + count <= embedding_rows else "appended"
