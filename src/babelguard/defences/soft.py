"""A soft safety prompt in the system message."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from typing import Any, Self

from torch import Tensor

from babelguard.defences.base import Defence
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.hook import soft_prompt
from babelguard.prompt.slot import Slot


class SoftDefence(Defence):
    """A soft prompt and the tokenizer whose template inserts it.

    Args:
        name: Name in tables.
        theta: The vectors, [n, d].
        slot: The placeholder tokens and their position.
        carrier: The tokenizer whose chat template inserts the placeholders.
        seed: Random seed of the training.
    """

    def __init__(self, name: str, theta: Tensor, slot: Slot, carrier: Any, seed: int | None = None) -> None:
        self.name, self.theta, self.slot, self.carrier, self.seed = name, theta, slot, carrier, seed
        self.banned_ids = slot.token_ids

    @classmethod
    def from_prompt(cls, prompt: SafetyPrompt, tokenizer: Any) -> Self:
        """Create the defence from a safety prompt. `tokenizer` is the base model's own tokenizer."""
        return cls(prompt.name, prompt.theta, prompt.slot, prompt.carrier(tokenizer), prompt.seed)

    @property
    def digest(self) -> str:
        """Hash of the vectors."""
        return hashlib.sha256(self.theta.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()[:16]

    def with_theta(self, theta: Tensor, seed: int | None) -> SoftDefence:
        """Return the same defence with other vectors."""
        return SoftDefence(self.name, theta, self.slot, self.carrier, seed)

    def tokenizer_for(self, tokenizer: Any) -> Any:
        """Return the tokenizer whose chat template inserts the placeholders."""
        return self.carrier

    def token_ids(self, tokenizer: Any, question: str) -> list[int]:
        """Token ids of `text`, which contain the placeholders once and in order.

        Raises:
            UserError: If they do not.
        """
        ids = super().token_ids(tokenizer, question)
        self.carrier.check_prompt(ids)
        return ids

    def active(self, model: Any) -> AbstractContextManager[Any]:
        """Insert the soft prompt into the model within a `with` block."""
        return soft_prompt(model, self.theta.to(model.get_input_embeddings().weight.device), self.slot.token_ids)
