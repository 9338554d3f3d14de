"""Choose training languages from the model's own hidden states (`auto:5`)."""

from __future__ import annotations

from typing import NamedTuple

import torch

from babelguard.analysis.coverage import choose_languages, coverage
from babelguard.analysis.features import attack_features, correlation
from babelguard.analysis.separability import language_aurocs, separable_languages
from babelguard.analysis.states import by_twins, states_of
from babelguard.corpus import Corpus
from babelguard.defences import NoDefence
from babelguard.errors import UserError
from babelguard.screen import Tick
from babelguard.targets import LocalModel


class ChosenLanguages(NamedTuple):
    """The result of `auto_languages`.

    Attributes:
        languages: Codes in the order of choice.
        coverage: Mean correlation of a language with the most similar chosen one.
        not_separable: Languages that were not considered, because harmful and harmless rows are not separable in them.
    """

    languages: tuple[str, ...]
    coverage: float
    not_separable: tuple[str, ...]


def auto_languages(model: LocalModel, train: Corpus, count: int, tick: Tick | None = None) -> ChosenLanguages:
    """Choose languages from the states of the training rows. No replies are generated.

    Args:
        model: The model, without a prompt.
        train: The training rows.
        count: Number of languages to choose.
        tick: Called after each language with (done, total).

    Raises:
        UserError: If the training rows have fewer languages, or fewer than three harmful rows.
    """
    if count > len(train.languages):
        raise UserError(
            f"'auto:{count}' asks for {count} languages, but the training rows have {len(train.languages)}; choose fewer."
        )
    if train.labels.count(0) < 3:
        raise UserError(
            "Choosing languages automatically needs at least three harmful training rows; list the languages instead."
        )
    states = states_of(model, NoDefence(), train, tick)
    similarity = correlation(attack_features(*by_twins(train, states)))
    aurocs = language_aurocs(states, torch.tensor(train.labels), train.groups)
    candidates = separable_languages(aurocs, count)
    order = choose_languages(similarity, candidates, count)
    left_out = tuple(code for k, code in enumerate(train.languages) if k not in candidates)
    return ChosenLanguages(tuple(train.languages[k] for k in order), coverage(similarity, order), left_out)
