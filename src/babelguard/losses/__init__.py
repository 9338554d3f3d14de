"""The losses: pure functions from tensors to one value a row."""

from babelguard.losses.alignment import frozen_alignment_loss, live_alignment_loss
from babelguard.losses.behaviour import behaviour_loss, helping_margin
from babelguard.losses.harmfulness import harmfulness_loss
from babelguard.losses.opening import opening_loss
from babelguard.losses.refusal import refusal_loss
from babelguard.losses.residual import residual_loss

__all__ = [
    "behaviour_loss",
    "frozen_alignment_loss",
    "harmfulness_loss",
    "helping_margin",
    "live_alignment_loss",
    "opening_loss",
    "refusal_loss",
    "residual_loss",
]
