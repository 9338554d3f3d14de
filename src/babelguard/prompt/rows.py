"""Rows of the embedding table and of the output head for the placeholder tokens of a defended model without hooks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from babelguard.prompt.placeholders import RESERVED

# These bytes do not occur in UTF-8, so a tokenizer never uses their tokens. The names are those of SentencePiece and of
# byte-level BPE.
IMPOSSIBLE_BYTES = ("<0xFF>", "<0xFE>", "<0xC0>", "ÿ", "þ", "À")


def table_rows(theta: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """Return the rows that a model without hooks reads, [n, d]. They are rounded once.

    Args:
        theta: The soft prompt, [n, d], float32, on the scale of the first decoder block's input.
        scale: The factor between the table and the input of the first decoder block.
        dtype: Dtype of the table.
    """
    return (theta.float() / scale).to(dtype)


def written(table: Tensor, ids: Collection[int], rows: Tensor, unused: int) -> Tensor:
    """Return a copy of an embedding table with other rows at some ids, [max(V, ids + 1), d].

    Args:
        table: The table, [V, d].
        ids: The ids, in the order of the rows.
        rows: The rows, [n, d].
        unused: An id of the table. Its row fills a gap between the table and the ids.
    """
    out = extended(table, max(ids) + 1, unused).clone()
    out[list(ids)] = rows.to(out.device, out.dtype)
    return out


def extended(table: Tensor, count: int, unused: int) -> Tensor:
    """Return a table or the bias of a head with at least `count` rows.

    New rows of a head are copies of the row of a token that the model never generates, so that it does not generate the new
    ones either. Zeros would not do: the logit of a zero row is 0, which can be the highest of all.

    Args:
        table: The table, [V, d] or [V].
        count: The number of rows.
        unused: The id of the token.
    """
    missing = count - table.shape[0]
    return table if missing <= 0 else torch.cat([table, table[unused : unused + 1].expand(missing, *table.shape[1:])])


def unused_id(tokenizer: Any, count: int, in_use: Collection[int]) -> int:
    """Return the id of a token that the model never generates: the last spare row, a reserved token, or an impossible byte.

    If there is none, it is the last row of the table.

    Args:
        tokenizer: The tokenizer of the base model.
        count: The number of rows of the embedding table.
        in_use: Ids that the model uses otherwise.
    """
    vocabulary = tokenizer.get_vocab()
    known = set(vocabulary.values())
    roles = set(tokenizer.all_special_tokens)
    spare = (i for i in range(count - 1, -1, -1) if i not in known)
    reserved = (i for token, i in vocabulary.items() if RESERVED.match(token) and token not in roles)
    impossible = (vocabulary[token] for token in IMPOSSIBLE_BYTES if token in vocabulary)
    found = (i for kind in (spare, reserved, impossible) for i in kind if i < count and i not in in_use)
    return next(found, count - 1)
