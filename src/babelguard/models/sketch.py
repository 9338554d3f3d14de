"""A sketch of a model's weights: a few hundred numbers that tell (de)quantised copies of a model from other models.

A hash changes with every rounding. A sketch can be compared with a tolerance. It holds random projections of some rows of
the embedding table and of weight matrices, and some elements of norms and biases. docs/design.md has measured distances.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from babelguard.models.probes import backbone

EMBEDDING = "embedding"
EMBEDDING_ROWS, MATRICES, VECTORS, ROWS = 64, 8, 8, 32
# Relative distances. Rounding to bfloat16 changes a number by at most 2^-8 of its size.
ROUNDING = 2**-8
# Quantisation leaves norms and biases in 16 or 32 bits.
OF_VECTORS = 0.01
OF_MATRICES = 0.25


class Part(NamedTuple):
    """The sketch of one parameter.

    Attributes:
        shape: Its shape.
        scale: Root mean square of the rows or elements that were used.
        values: The projections of rows, or elements.
    """

    shape: tuple[int, ...]
    scale: float
    values: tuple[float, ...]


class Difference(NamedTuple):
    """The largest difference between two sketches.

    Attributes:
        reason: What differs, for messages; '' if the weights are the same up to rounding.
        other: Whether the models are different models.
    """

    reason: str
    other: bool


class Sketch(NamedTuple):
    """The sketch of a model.

    Attributes:
        parts: Sketches of parameters by name, relative to the decoder.
        packed: Whether the model keeps quantised weights in packed form. They have no sketch.
    """

    parts: Mapping[str, Part]
    packed: bool = False

    @classmethod
    def of(cls, model: Any, read: Callable[[str], Tensor | None] | None = None) -> Sketch:
        """Sketch a model. The head is left out, because it can be tied to the embeddings or not.

        Args:
            model: The model.
            read: Reads a parameter of the decoder by name, if the model has no weights in memory. It returns None if the
                parameter is stored in another form, which counts as packed.
        """
        table = model.get_input_embeddings().weight
        packed = getattr(model.config, "quantization_config", None) is not None
        named = list(backbone(model).named_parameters())
        held = {name: value for name, value in named if value is table}
        parts = {}
        for name, value in [(EMBEDDING, table), *_chosen([one for one in named if one[1] is not table])]:
            found = value if read is None else read(next(iter(held)) if name == EMBEDDING else name)
            packed = packed or found is None
            # Numbers of one byte are packed: they have scales elsewhere.
            if found is not None and (name == EMBEDDING or (found.is_floating_point() and found.element_size() > 1)):
                parts[name] = _sketch(name, found, EMBEDDING_ROWS if name == EMBEDDING else ROWS)
        return cls(parts, packed)

    @classmethod
    def parse(cls, lines: Mapping[str, str]) -> Sketch:
        """Read the form written by `lines`.

        Raises:
            ValueError: If it is damaged.
        """
        parts = {}
        for name, line in lines.items():
            shape, *numbers = line.split()
            scale, *values = map(float, numbers or ("nan",))
            parts[name] = Part(tuple(map(int, shape.split("x"))), scale, tuple(values))
        sound = (
            len(part.values) == _count(name, part.shape)
            and part.scale >= 0
            and all(map(math.isfinite, (part.scale, *part.values)))
            for name, part in parts.items()
        )
        if EMBEDDING not in parts or not all(sound):
            raise ValueError("the sketch of the base model is incomplete")
        return cls(parts)

    def lines(self) -> dict[str, str]:
        """Return one line per parameter: its shape, such as 1536x8960, the scale and the numbers."""
        return {
            name: " ".join(["x".join(map(str, part.shape)), *map(str, (part.scale, *part.values))])
            for name, part in self.parts.items()
        }

    def difference(self, given: Sketch) -> Difference:
        """Compare the sketch of a base model with that of a given model.

        Args:
            given: The sketch of the given model. Packed weights are not compared.
        """
        skipped = False
        for name, part in self.parts.items():
            other = given.parts.get(name)
            if given.packed and len(part.shape) > 1 and (other is None or other.shape != part.shape):
                skipped = True
                continue
            if other is None:
                return Difference("its weight matrices have another number or other names", True)
            if other.shape != part.shape:
                shapes = " instead of ".join("x".join(map(str, one.shape)) for one in (other, part))
                return Difference(f"the shape of {name} is {shapes}", True)
        found = distances(self, given)
        limits = {name: OF_VECTORS if len(self.parts[name].shape) == 1 else OF_MATRICES for name in found}
        if max(found.values(), default=0.0) <= ROUNDING:
            return Difference("weight matrices are packed and were not compared" if skipped else "", False)
        name = max(found, key=lambda name: found[name] / limits[name])
        reason = f"{name} differs by {_percent(found[name])}, and the limit is {_percent(limits[name])}"
        return Difference(reason, found[name] > limits[name])


def distances(base: Sketch, given: Sketch) -> dict[str, float]:
    """Return the relative distance of each parameter that both sketches hold in the same shape."""
    return {
        name: _distance(part, given.parts[name])
        for name, part in base.parts.items()
        if name in given.parts and given.parts[name].shape == part.shape
    }


def _chosen(named: Sequence[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Yield some of the matrices and some of the norms and biases."""
    for vectors, count in ((False, MATRICES), (True, VECTORS)):
        kind = [one for one in named if (one[1].ndim == 1) == vectors]
        yield from (kind[k] for k in _spread(len(kind), count))


def _sketch(name: str, weight: Tensor, count: int) -> Part:
    """Project rows of a matrix on random signs, or take elements of a vector."""
    values = weight.detach()
    shape = tuple(values.shape)
    if values.ndim == 1:
        chosen = values[_places(len(values), count, values.device)].float().cpu()
        return _part(shape, chosen, chosen)
    rows = values.flatten(0, -2)
    chosen = rows[_places(len(rows), count, rows.device)].float().cpu()
    width = chosen.shape[1]
    # Python guarantees these bits for a seed, torch does not.
    bits = random.Random(name).getrandbits(width)
    signs = torch.tensor([1.0 if bits >> k & 1 else -1.0 for k in range(width)])
    return _part(shape, chosen, chosen @ signs / math.sqrt(width))


def _count(name: str, shape: tuple[int, ...]) -> int:
    """Return how many numbers the sketch of a parameter has. At least one, so that an empty one is damaged."""
    return max(1, min(math.prod(shape[:-1] or shape), EMBEDDING_ROWS if name == EMBEDDING else ROWS))


def _spread(total: int, count: int) -> Iterator[int]:
    """Yield at most `count` numbers below `total`, evenly spread, first and last included."""
    count = min(total, count)
    return (k * (total - 1) // max(1, count - 1) for k in range(count))


def _places(total: int, count: int, device: torch.device) -> Tensor:
    return torch.tensor(list(_spread(total, count)), device=device)


def _part(shape: tuple[int, ...], chosen: Tensor, numbers: Tensor) -> Part:
    """Round to five digits, as in files."""
    scale, *values = (float(f"{number:.5g}") for number in (float(chosen.pow(2).mean().sqrt()), *numbers.tolist()))
    return Part(shape, scale, tuple(values))


def _distance(base: Part, given: Part) -> float:
    """Root mean square of the difference, relative to the weights of `base`."""
    change = math.dist(base.values, given.values) / math.sqrt(len(base.values))
    if not math.isfinite(change):  # weights that are not numbers
        return math.inf
    return change / base.scale if base.scale else (math.inf if change else 0.0)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.2g} %"
