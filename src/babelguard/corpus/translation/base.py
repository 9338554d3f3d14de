"""The contract of a translation engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Status = Literal["ok", "refused", "empty", "echo", "cut", "error"]


@dataclass(frozen=True)
class Translation:
    """The result for one text.

    Attributes:
        text: The translation, NFC and stripped, or whatever was returned instead if the status is not `ok`.
        status: `ok`; `refused`: the engine refused to translate; `empty`: no text was returned; `echo`: the source was
            returned; `cut`: the output has no end token; `error`: nothing usable was returned, but trying again later may
            work.
        detail: The reason in a few words.
    """

    text: str
    status: Status = "ok"
    detail: str = ""


class EngineFailed(Exception):
    """A request failed after all retries. The job then splits it into smaller requests.

    Args:
        why: The reason in a few words.
        lost: Whether there was no answer at all, so that further requests may fail too.
    """

    def __init__(self, why: str, *, lost: bool = False) -> None:
        super().__init__(why)
        self.lost = lost


class Engine(Protocol):
    """A translation engine.

    Attributes:
        name: `openai` or `transformers`.
        model: Name of the model, without local paths.
        version: Version of the prompt or of the decoding. Texts are translated again if it changes.
        licence: Licence of the translations, which is written to every row.
        notices: Sentences to show before the job starts.
        batch: Texts per request.
        parallel: Number of parallel requests.
        host: Host that the texts are sent to, or '' if they stay on this machine.
        retries_alone: Whether to retry a text alone after it failed in a batch.
    """

    name: str
    model: str
    version: str
    licence: str
    notices: tuple[str, ...]
    batch: int
    parallel: int
    host: str
    retries_alone: bool

    def check(self, languages: Sequence[str]) -> None:
        """Check that the engine supports these languages.

        Raises:
            UserError: If it does not.
        """
        ...

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Translation]:
        """Translate texts in one request.

        Args:
            texts: At most `batch` texts.
            source: Code of their language.
            target: Code of the target language.

        Returns:
            One translation per text, in the same order.

        Raises:
            EngineFailed: If the request as a whole returned nothing usable.
            UserError: If no request can succeed (for example, the model does not exist or the key is missing).
        """
        ...

    def close(self) -> None:
        """Cancel waiting requests and close connections."""
        ...
