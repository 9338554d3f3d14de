"""The contract of a defence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

from babelguard.models.load import ChatModel
from babelguard.prompt.placement import Messages
from babelguard.prompt.slot import render, tokenise


class Defence(ABC):
    """Changes the chat that a model receives, changes its reply, or answers instead of it.

    Register a subclass under the entry point group `babelguard.defences`. Only `digest` must be implemented.

    Attributes:
        name: Name in tables.
        seed: Random seed of the training, or None if nothing was trained.
        banned_ids: Token ids that must never be generated.
    """

    name: str
    seed: int | None = None
    banned_ids: tuple[int, ...] = ()

    @classmethod
    def for_model(cls, chat: ChatModel) -> Self:
        """Build the defence for a model. Called when a defence is chosen by name."""
        return cls()

    @property
    @abstractmethod
    def digest(self) -> str:
        """Hash of everything that can change a reply. Logged replies are reused if it is equal."""

    def messages(self, question: str) -> Messages:
        """Return the chat for a question. Override it to rewrite the question or to add a system message."""
        return [{"role": "user", "content": question}]

    def answer(self, question: str) -> str | None:
        """Answer in place of the model, for example to refuse a request. None lets the model answer."""
        return None

    def revise(self, question: str, reply: str) -> str:
        """Change or replace the model's reply."""
        return reply

    def tokenizer_for(self, tokenizer: Any) -> Any:
        """Return the tokenizer whose chat template renders the chat."""
        return tokenizer

    def active(self, model: Any) -> AbstractContextManager[Any]:
        """Return a context manager in which the model runs under this defence."""
        return nullcontext()

    def text(self, tokenizer: Any, question: str) -> str:
        """Render the chat for a question, up to the beginning of the reply."""
        return render(self.tokenizer_for(tokenizer), self.messages(question))

    def token_ids(self, tokenizer: Any, question: str) -> list[int]:
        """Token ids of `text`."""
        return tokenise(self.tokenizer_for(tokenizer), self.text(tokenizer, question))
