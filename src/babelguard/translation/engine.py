"""What a translator must offer, and what it gives back. The job knows engines by this alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Status = Literal["ok", "refused", "empty", "echo", "cut", "error"]


@dataclass(frozen=True)
class Translation:
    """One text that came back.

    Attributes:
        text: The translation, NFC and stripped; what came instead where the status is not `ok`.
        status: `refused`: the translator refused; `empty`: nothing came; `echo`: the source came back as it was;
            `cut`: the model did not come to an end; `error`: nothing usable came, and it is worth trying again another time.
        detail: Why, in a few words.
    """

    text: str
    status: Status = "ok"
    detail: str = ""


class EngineFailed(Exception):
    """A request that gave nothing, after all tries: the job asks for its texts in smaller parts, then goes on.

    Args:
        why: In a few words.
        lost: Whether nobody answered, so that further requests may be in vain too.
    """

    def __init__(self, why: str, *, lost: bool = False) -> None:
        super().__init__(why)
        self.lost = lost


class Engine(Protocol):
    """A translator.

    Attributes:
        name: The engine, `openai` or `transformers`.
        model: The model's name, without paths of the machine.
        version: Of the prompt or the way of decoding: another version translates again.
        licence: Under which its output may be passed on, as it stands in every row.
        notices: Sentences that a person must read before anything starts.
        batch: Texts a request.
        parallel: Requests at a time.
        place: Where the texts are sent; empty where they stay on this machine.
        retries_alone: Whether a text that came back wrong among others may come back right when asked alone.
    """

    name: str
    model: str
    version: str
    licence: str
    notices: tuple[str, ...]
    batch: int
    parallel: int
    place: str
    retries_alone: bool

    def check(self, languages: Sequence[str]) -> None:
        """Refuse what cannot work before anything is spent.

        Raises:
            UserError: for a language that the engine does not know.
        """
        ...

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Translation]:
        """Translate texts in one request.

        Args:
            texts: At most `batch` of them.
            source: Code of their language.
            target: Code of the language to translate into.

        Returns:
            One translation a text, in their order.

        Raises:
            EngineFailed: where the request as a whole gave nothing usable.
            UserError: where no request can succeed (no such model, a key that is missing).
        """
        ...

    def close(self) -> None:
        """Wake whatever waits, and let go of connections."""
        ...
