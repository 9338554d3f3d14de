"""The losses, one file each. To add one, write a file with a `Loss` and add it to `LOSSES`."""

from babelguard.method.losses.alignment import ALIGNMENT
from babelguard.method.losses.base import Batch, Context, FirstTokens, Loss, StartStates
from babelguard.method.losses.behaviour import BEHAVIOUR
from babelguard.method.losses.frozen_alignment import FROZEN_ALIGNMENT
from babelguard.method.losses.harmfulness import HARMFULNESS
from babelguard.method.losses.keep import KEEP
from babelguard.method.losses.opening import OPENING
from babelguard.method.losses.refusal import REFUSAL
from babelguard.method.losses.residual import RESIDUAL

LOSSES: tuple[Loss, ...] = (
    REFUSAL,
    HARMFULNESS,
    RESIDUAL,
    ALIGNMENT,
    FROZEN_ALIGNMENT,
    BEHAVIOUR,
    OPENING,
    KEEP,
)

__all__ = ["LOSSES", "Batch", "Context", "FirstTokens", "Loss", "StartStates"]
