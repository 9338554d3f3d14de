"""`--languages auto:5`: the training languages that cover the others best, from the model's own states."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from babelguard.analysis.coverage import choose_languages, coverage
from babelguard.analysis.features import attack_features, correlation
from babelguard.analysis.separability import language_aurocs, worth_training_on
from babelguard.analysis.states import by_twins, states_of
from babelguard.corpus import Corpus
from babelguard.defence import Defence
from babelguard.errors import UserError
from babelguard.models.load import ChatModel


class Chosen(NamedTuple):
    """Languages in the order of choice.

    Attributes:
        languages: Codes.
        coverage: Mean correlation of any language with the nearest of them.
        blind: Languages that were passed over, since the model does not see harm in them.
    """

    languages: tuple[str, ...]
    coverage: float
    blind: tuple[str, ...]


def auto_languages(
    chat: ChatModel, train: Corpus, count: int, tick: Callable[[int, int], None] | None = None
) -> Chosen:
    """Choose among the languages that the training rows have; no reply is generated and no other split is looked at.

    Args:
        chat: The model, without a prompt.
        train: The training rows.
        count: How many languages.
        tick: Told (done, total) in languages.

    Raises:
        UserError: where the training rows have fewer languages, or too few rows.
    """
    if count > len(train.languages):
        raise UserError(
            f"'auto:{count}' asks for {count} languages, and the training rows have {len(train.languages)}; ask for fewer."
        )
    if train.labels.count(0) < 3:
        raise UserError("Choosing languages needs at least three harmful training rows; name the languages instead.")
    states = states_of(chat, Defence("none"), train, tick)
    similarity = correlation(attack_features(*by_twins(train, states)))
    aurocs = language_aurocs(states, torch.tensor(train.labels), train.groups)
    candidates = worth_training_on(aurocs, count)
    order = choose_languages(similarity, candidates, count)
    blind = tuple(code for k, code in enumerate(train.languages) if k not in candidates)
    return Chosen(tuple(train.languages[k] for k in order), coverage(similarity, order), blind)
