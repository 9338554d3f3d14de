"""Measure how far changed copies of a model are from it, as `babelguard.models.sketch` measures it.

    python benchmarks/sketch_distances.py                # Qwen2.5-Coder-0.5B-Instruct
    python benchmarks/sketch_distances.py --model demo

The table has the largest distance of a matrix and of a vector by the sketch, the largest distance of these matrices from all of
their elements (in percent), and what a safety prompt of the model would do. The
weights are rounded, quantised and dequantised (the formats of GGUF files), fine-tuned, and initialised again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from gguf import GGMLQuantizationType, dequantize, quantize
from torch import Tensor

from babelguard.corpus import load_corpus
from babelguard.models.load import load_chat_model
from babelguard.models.sketch import Sketch, distances

Change = Callable[[str, Tensor], Tensor]


def rounded(dtype: torch.dtype, vectors: bool = True) -> Change:
    return lambda name, weight: weight.to(dtype).float() if vectors or weight.ndim > 1 else weight


def quantised(kind: str) -> Change:
    def change(name: str, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return weight
        number = GGMLQuantizationType[kind]
        return torch.from_numpy(dequantize(quantize(weight.numpy(), number), number)).view_as(weight)

    return change


def coarse(bits: int) -> Change:
    """Round to 2^bits levels between the smallest and the largest of 32 weights."""

    def change(name: str, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return weight
        blocks = weight.view(-1, 32)
        low, high = blocks.aminmax(dim=1, keepdim=True)
        step = ((high - low) / (2**bits - 1)).clamp_min(1e-12)
        return (((blocks - low) / step).round() * step + low).view_as(weight)

    return change


def merged(rank: int, size: float, seed: int = 0) -> Change:
    """Merge a random low-rank update into the layers' matrices. `size` is its norm relative to the weight."""
    generator = torch.Generator().manual_seed(seed)

    def change(name: str, weight: Tensor) -> Tensor:
        if weight.ndim == 1 or "layers" not in name:
            return weight
        up, down = (torch.randn(n, rank, generator=generator) for n in weight.shape)
        update = up @ down.T
        return weight + update * (size * weight.norm() / update.norm())

    return change


def random_again(part: str) -> Change:
    generator = torch.Generator().manual_seed(0)

    def change(name: str, weight: Tensor) -> Tensor:
        if part not in name or weight.ndim == 1:
            return weight
        return torch.randn(weight.shape, generator=generator) * weight.std()

    return change


def fine_tuned(model: Any, tokenizer: Any, steps: int, rate: float) -> None:
    """Train all weights on training rows of the corpus for a few steps of AdamW."""
    texts = load_corpus().split("train").texts("en")
    model.requires_grad_(True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    for step in range(steps):
        ids = tokenizer(texts[step % len(texts)], return_tensors="pt").input_ids
        model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    model.requires_grad_(False)


CHANGES: dict[str, Change] = {
    "float16": rounded(torch.float16),
    "bfloat16": rounded(torch.bfloat16),
    "float8 (e4m3)": rounded(torch.float8_e4m3fn, vectors=False),
    **{kind: quantised(kind) for kind in ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")},
    **{f"{bits} bits in blocks of 32": coarse(bits) for bits in (3, 2)},
    **{
        f"rank {rank} update, {size:.1%}": merged(rank, size)
        for rank, size in ((8, 0.001), (8, 0.01), (8, 0.05), (1, 0.05), (64, 0.3))
    },
    "one layer initialised again": random_again("layers.0."),
    "embeddings initialised again": random_again("embed"),
    "all matrices initialised again": random_again(""),
}


def report(name: str, base: Sketch, kept: dict[str, Tensor], model: Any) -> None:
    given = Sketch.of(model)
    exact = max(
        float((value - kept[part]).norm() / kept[part].norm())
        for part, value in model.named_parameters()
        if value.ndim > 1 and (part.removeprefix("model.") in base.parts or "embed" in part)
    )
    found = distances(base, given)
    largest = [
        max((found[part] for part in found if (len(base.parts[part].shape) == 1) == vectors), default=0.0)
        for vectors in (False, True)
    ]
    difference = base.difference(given)
    verdict = "refused" if difference.other else "said" if difference.reason else "same"
    print(f"| {name} | {100 * largest[0]:.2f} | {100 * exact:.2f} | {100 * largest[1]:.2f} | {verdict} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="name of a packaged model, a folder or a hub id")
    parser.add_argument("--steps", type=int, default=0, help="steps of fine-tuning (needs four times the memory)")
    args = parser.parse_args()
    chat = load_chat_model(args.model, device="cpu", dtype="float32")
    base, kept = Sketch.of(chat.model), {name: value.clone() for name, value in chat.model.named_parameters()}
    print("| change | matrices | matrices, all elements | vectors | verdict |\n|---|---|---|---|---|")
    for title, change in CHANGES.items():
        for name, value in chat.model.named_parameters():
            if name.removeprefix("model.") in base.parts or "embed" in name:
                value.data.copy_(change(name, kept[name]))
        report(title, base, kept, chat.model)
    for rate in (1e-5, 1e-4) if args.steps else ():
        for name, value in chat.model.named_parameters():
            value.data.copy_(kept[name])
        fine_tuned(chat.model, chat.tokenizer, args.steps, rate)
        report(f"{args.steps} steps of AdamW, learning rate {rate:g}", base, kept, chat.model)


if __name__ == "__main__":
    main()
