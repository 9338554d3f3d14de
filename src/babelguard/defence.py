"""A defence is what stands in the system message: nothing, a written prompt, or a soft prompt."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from babelguard.hook import soft_prompt
from babelguard.slot import SEPARATOR, Slot, find_placement, render, tokenise


@dataclass(frozen=True)
class Defence:
    """What is measured: a name, and what stands in the system message.

    Attributes:
        name: `none`, `written`, `dro`, `mcd` ... as it appears in tables.
        seed: Of the training, or None where nothing was trained.
        system: The written prompt, if it is one, with the template's built-in system text behind it.
        in_user_turn: The template has no place for a system message, so the prompt heads the user's turn.
        theta: The soft prompt [n, d], if it is one.
        slot: Its slot.
        carrier: The tokenizer whose template carries it.
    """

    name: str
    seed: int | None = None
    system: str | None = None
    in_user_turn: bool = False
    theta: Tensor | None = None
    slot: Slot | None = None
    carrier: Any = None

    @property
    def digest(self) -> str:
        """Hash of what stands in the system message; equal digests mean equal replies."""
        if self.theta is not None:
            return hashlib.sha256(self.theta.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()[:16]
        return hashlib.sha256((self.system or "").encode()).hexdigest()[:16]

    @property
    def banned_ids(self) -> tuple[int, ...]:
        """Ids that must never be generated: the placeholders."""
        return self.slot.token_ids if self.slot is not None else ()

    def text(self, tokenizer: Any, question: str) -> str:
        """The rendered chat for one question, up to where the reply begins."""
        user = {"role": "user", "content": question}
        if self.theta is not None:
            return render(self.carrier, [user])
        if self.system is None:
            return render(tokenizer, [user])
        if self.in_user_turn:
            return render(tokenizer, [{"role": "user", "content": self.system + SEPARATOR + question}])
        return render(tokenizer, [{"role": "system", "content": self.system}, user])

    def token_ids(self, tokenizer: Any, question: str) -> list[int]:
        """Token ids of `text`."""
        return tokenise(self.carrier if self.theta is not None else tokenizer, self.text(tokenizer, question))

    def active(self, model: Any) -> AbstractContextManager[Any]:
        """A `with` block in which the model runs under this defence."""
        if self.theta is None or self.slot is None:
            return nullcontext()
        return soft_prompt(model, self.theta.to(model.get_input_embeddings().weight.device), self.slot.token_ids)


def written_defence(name: str, text: str, tokenizer: Any) -> Defence:
    """A written prompt at the very place where the soft prompt would stand, so that only the tokens differ."""
    placement, built_in = find_placement(tokenizer)
    return Defence(name, system=text + (SEPARATOR + built_in if built_in else ""), in_user_turn=placement == "user")
