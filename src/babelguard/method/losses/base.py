"""The inputs of the losses, and the class `Loss`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from babelguard.method.space import SafetySpace


@dataclass(frozen=True)
class StartStates:
    """The states of one training step under the start prompt, x_0. All are constants.

    Attributes:
        states: x_0 of the centre rows at the layer of the space, [batch, d].
        last_states: x_0 of the centre rows after the final norm, [batch, d].
        reference: x_0 of the base logits in L_r and L_h: the same rows, or their English versions, [batch, d].
        frozen_target: Mean of x_0 over the other languages, [batch, d].
    """

    states: Tensor
    last_states: Tensor
    reference: Tensor
    frozen_target: Tensor


@dataclass(frozen=True)
class Batch:
    """The hidden states of one training step.

    The losses of the safety space use the states at its layer, which is the last one unless `objective.layer` is set. The losses
    on first tokens use the states after the final norm.

    Attributes:
        states: x_theta of the centre rows at the layer of the space, [batch, d]. Gradients flow through it.
        other_states: x_theta of the same queries in k other languages, [k, batch, d], or None.
        labels: 0 harmful, 1 harmless, [batch].
        language: Index of each row's language, [batch].
        last_states: x_theta of the centre rows after the final norm, [batch, d]. Gradients flow through it.
        start: The constants under the start prompt, or None.
        plain_states: x of the centre rows without a prompt after the final norm, [batch, d], or None. A constant. Only the
            states of harmless rows are computed; the others are 0.
    """

    states: Tensor
    other_states: Tensor | None
    labels: Tensor
    language: Tensor
    last_states: Tensor
    start: StartStates | None = None
    plain_states: Tensor | None = None


@dataclass(frozen=True)
class FirstTokens:
    """The tokens that begin answers and refusals.

    Attributes:
        answering: Output embeddings of tokens that begin answers, [a, d].
        refusing: Output embeddings of tokens that begin refusals, [r, d].
        answers_in: Whether each of them begins answers in each training language, bool, [L, a]. None: all do in all languages.
        refuses_in: The same for refusals, bool, [L, r].
        neutral_in: Which tokens of `answering` begin refusals as well as answers in each language, bool, [L, a]. None: none.
    """

    answering: Tensor
    refusing: Tensor
    answers_in: Tensor | None = None
    refuses_in: Tensor | None = None
    neutral_in: Tensor | None = None

    def to(self, device: torch.device) -> FirstTokens:
        """Return a copy on a device."""
        of_languages = (self.answers_in, self.refuses_in, self.neutral_in)
        known = [None if one is None else one.to(device) for one in of_languages]
        return FirstTokens(self.answering.to(device), self.refusing.to(device), *known)


@dataclass(frozen=True)
class Context:
    """The constants of the losses.

    Attributes:
        space: The safety space.
        first_tokens: Tokens that begin answers and refusals, or None if the anchor replies showed none.
        harmless_weight: Weight of harmless relative to harmful rows in the behaviour loss.
    """

    space: SafetySpace
    first_tokens: FirstTokens | None = None
    harmless_weight: float = 1.0


@dataclass(frozen=True)
class Loss:
    """A term of the objective.

    Attributes:
        name: Its name in `objective.weights` and in the training history.
        label: Its name in the progress display.
        weight: Default weight; 0 leaves it out.
        per_row: Computes the unweighted loss of every row, [batch], from the batch and the context.
        needs_other_languages: Whether `Batch.other_states` is needed. The loss is left out when they are missing.
        needs_start_states: Whether `Batch.start` is needed. It is computed if a loss of the run needs it.
        needs_first_tokens: Whether `Context.first_tokens` is needed. The loss is left out when they are missing.
        needs_plain_states: Whether `Batch.plain_states` is needed. They are computed if a loss of the run needs them.
        teaches_refusal: Whether the loss tells the prompt what to refuse and what to answer. One such loss is required.
    """

    name: str
    label: str
    weight: float
    per_row: Callable[[Batch, Context], Tensor]
    needs_other_languages: bool = False
    needs_start_states: bool = False
    needs_first_tokens: bool = False
    needs_plain_states: bool = False
    teaches_refusal: bool = False

    def applies(self, batch: Batch, context: Context) -> bool:
        """Whether the batch and the context have everything that the loss needs."""
        missing_languages = self.needs_other_languages and batch.other_states is None
        missing_tokens = self.needs_first_tokens and context.first_tokens is None
        return not (missing_languages or missing_tokens)


def start_of(batch: Batch) -> StartStates:
    """Return the states under the start prompt.

    Raises:
        ValueError: If they were not computed. Losses without `needs_start_states` may not use them.
    """
    if batch.start is None:
        raise ValueError("this loss needs the states under the start prompt (needs_start_states)")
    return batch.start


def first_tokens_of(context: Context) -> FirstTokens:
    """Return the first tokens of the context.

    Raises:
        ValueError: If there are none. Losses with `needs_first_tokens` are not called in that case.
    """
    if context.first_tokens is None:
        raise ValueError("this loss needs the tokens that begin answers and refusals")
    return context.first_tokens
