"""The classifier of the encoder judge: a network with one hidden layer on the features of a reply."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, softmax

from babelguard.judges.base import Verdict
from babelguard.judges.reply_features import OF_QUESTION

FILE = "encoder_head.safetensors"
# The order of the outputs.
CLASSES = (
    Verdict.REFUSED,
    Verdict.SUPPORTED,
    Verdict.PARTIAL,
    Verdict.ANSWERED,
    Verdict.UNHELPFUL,
    Verdict.BROKEN,
)


@dataclass(frozen=True)
class EncoderHead:
    """Weights of the classifier.

    Attributes:
        mean: Mean of each feature, [features].
        scale: Standard deviation of each feature, [features].
        hidden_weight: [hidden, features].
        hidden_bias: [hidden].
        output_weight: [6, hidden].
        output_bias: [6].
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    hidden_weight: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    output_weight: NDArray[np.float32]
    output_bias: NDArray[np.float32]

    def probabilities(self, features: NDArray[np.float32], has_question: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the probability of each class, [n, 6].

        Args:
            features: From `reply_features`, [n, features].
            has_question: Whether the request is known, [n].
        """
        z = (features - self.mean) / self.scale
        z[~has_question, OF_QUESTION] = 0.0
        hidden = z @ self.hidden_weight.T + self.hidden_bias
        hidden *= 0.5 * (1.0 + erf(hidden / np.sqrt(2.0)))
        found: Any = softmax(hidden @ self.output_weight.T + self.output_bias, axis=1)
        return np.asarray(found, np.float32)


@cache
def load_head() -> EncoderHead:
    """Load the weights that are installed with the package."""
    from safetensors.numpy import load

    return EncoderHead(**{name: np.asarray(value, np.float32) for name, value in load(_content()).items()})


@cache
def head_digest() -> str:
    """Return a hash of the weights."""
    import hashlib

    return hashlib.sha256(_content()).hexdigest()[:8]


def _content() -> bytes:
    return files("babelguard.judges").joinpath(FILE).read_bytes()
