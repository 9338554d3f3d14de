"""States of parallel rows in all their languages."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from babelguard import engine
from babelguard.corpus import Corpus
from babelguard.defence import Defence
from babelguard.errors import UserError
from babelguard.models.load import ChatModel


@torch.no_grad()
def states_of(
    chat: ChatModel, defence: Defence, rows: Corpus, tick: Callable[[int, int], None] | None = None
) -> Tensor:
    """States at the last token of the chat under a defence.

    Args:
        chat: The model.
        defence: What stands in the system message.
        rows: Parallel rows.
        tick: Told (done, total) in languages.

    Returns:
        [L, rows, d], float32 on the CPU.

    Raises:
        UserError: where a row does not fit into the model's context.
    """
    found = []
    with defence.active(chat.model):
        for number, code in enumerate(rows.languages):
            chats = [defence.token_ids(chat.tokenizer, text) for text in rows.texts(code)]
            longest = max(range(len(chats)), key=lambda k: len(chats[k]))
            if len(chats[longest]) > chat.context:
                raise UserError(
                    f"Row {rows.rows[longest].id} ({code}) is {len(chats[longest])} tokens long with its prompt and does not "
                    f"fit into the {chat.context} tokens of this model's context; shorten it or the prompt."
                )
            prefix = engine.run_prefix(chat.model, engine.shared_prefix(chats))
            found.append(engine.last_states(chat.model, prefix, engine.split(chats, prefix.token_ids)).float().cpu())
            if tick is not None:
                tick(number + 1, len(rows.languages))
    return torch.stack(found)


def by_twins(rows: Corpus, states: Tensor) -> tuple[Tensor, Tensor | None]:
    """States of the harmful rows and, where each has a harmless twin, those of the twins in the same order.

    Args:
        rows: Parallel rows.
        states: from `states_of`, [L, rows, d].
    """
    places = {row.id: k for k, row in enumerate(rows.rows) if not row.harmful}
    harmful = [k for k, row in enumerate(rows.rows) if row.harmful]
    twins = [places.get(rows.rows[k].twin or "") for k in harmful]
    known = [k for k in twins if k is not None]
    return states[:, harmful], states[:, known] if len(known) == len(harmful) else None
