"""From the corpus to what the trainer takes: the training rows rendered with the slot in place, and their base states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from babelguard import engine
from babelguard.corpus import Corpus
from babelguard.defence import Defence
from babelguard.errors import UserError
from babelguard.models.load import ChatModel
from babelguard.slot import tokenise
from babelguard.trainer import TrainingData


@torch.no_grad()
def training_data(chat: ChatModel, soft: Defence, rows: Corpus, languages: Sequence[str]) -> TrainingData:
    """Render the training rows with the slot in place, and run them under the starting prompt.

    Args:
        chat: The model.
        soft: The soft prompt as it is before training.
        rows: The training rows.
        languages: Those that are trained on.

    Raises:
        UserError: where a row does not fit into the model's context.
    """
    chats = [[soft.token_ids(chat.tokenizer, text) for text in rows.texts(code)] for code in languages]
    longest = max(len(ids) for group in chats for ids in group)
    if longest > chat.context:
        raise UserError(
            f"A training row is {longest} tokens long with its prompt and does not fit into the {chat.context} tokens "
            "of this model's context; shorten the rows of the corpus or the prompt."
        )
    prefix_ids = engine.shared_prefix([ids for group in chats for ids in group])
    suffixes = [engine.split(group, prefix_ids) for group in chats]
    with soft.active(chat.model):
        prefix = engine.run_prefix(chat.model, prefix_ids)
        states = [engine.last_states(chat.model, prefix, group).float().cpu() for group in suffixes]
    english = languages.index("en") if "en" in languages else None
    labels = torch.tensor(rows.labels, dtype=torch.float32)
    return TrainingData(prefix_ids, suffixes, torch.stack(states), labels, english, rows.groups)


def start_ids(tokenizer: Any, text: str, length: int | None) -> list[int]:
    """Ids of the written prompt that training starts from, cut or repeated to the wanted length."""
    ids = tokenise(tokenizer, text)
    if not ids:
        raise UserError("The prompt to start from is empty; give a text or one of best, long, medium, short.")
    return [ids[k % len(ids)] for k in range(length or len(ids))]
