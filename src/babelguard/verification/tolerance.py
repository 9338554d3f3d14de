"""How far the log-probabilities of a served model may be from those of the reference."""

from __future__ import annotations

from typing import NamedTuple


class Tolerance(NamedTuple):
    """A tolerance.

    Attributes:
        name: Name of the number format.
        logprob: Largest difference of a log-probability (natural logarithm).
        share: Share of the chats or tokens that must agree, in [0, 1].
    """

    name: str
    logprob: float
    share: float = 1.0

    @property
    def margin(self) -> float:
        """Two tokens whose log-probabilities differ by no more than this can change places."""
        return 2 * self.logprob


# docs/verify.md says where the numbers come from.
TOLERANCES = {
    one.name: one
    for one in (
        Tolerance("float32", 0.001),
        Tolerance("float16", 0.1),
        Tolerance("bfloat16", 0.25),
        Tolerance("quantised", 1.0, 0.9),
    )
}
# The largest probability of a placeholder token at any position.
RESERVED = 1e-6
# The ends of the interval of the difference in error between two evaluations, in [0, 1].
DIFFERENCE = 0.05


def tolerance_of(dtype: str, by_server: bool) -> Tolerance:
    """Return the tolerance of a number format. Formats that are not floating-point formats of torch are quantised.

    Args:
        dtype: Name of the format of the served weights, such as `bfloat16` or `Q8_0`.
        by_server: Whether a server computes. Servers may keep keys and values in 16 bits, whatever the weights are.
    """
    name = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}.get(dtype.lower(), dtype.lower())
    if by_server and name == "float32":
        name = "float16"
    return TOLERANCES.get(name, TOLERANCES["quantised"])
