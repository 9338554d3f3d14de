"""Compare the speed of generation: the shared-prefix engine and the batched `generate` of transformers.

Both generate greedy replies of 24 tokens to the same prompts, with the same written system prompt of 112 tokens and batches
of 32, in float32 (or `--dtype`). They alternate (stock, ours, stock, ours, ...) in one process. Each number is a median.

    python benchmarks/generate.py --json
    python benchmarks/generate.py --device cuda --random 7b --profile table.txt
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from setting import (
    Loaded,
    arguments,
    clock_of,
    load,
    matmul_rate,
    parameters_of,
    peak_on_gpu,
    profile,
    questions,
    random_chats,
    show,
    written_ids,
)

from babelguard import engine
from babelguard.defences import WrittenDefence

NEW_TOKENS = 24
BATCH = 32


def chats_of(loaded: Loaded, count: int) -> list[list[int]]:
    """Return the token ids of `count` chats."""
    if loaded.tokenizer is None:
        return random_chats(loaded.model, count)[0]
    text = loaded.tokenizer.decode(written_ids(loaded.tokenizer))
    defence = WrittenDefence.from_text("written", text, loaded.tokenizer)
    return [defence.token_ids(loaded.tokenizer, question) for question in questions(count)]


def our_replies(loaded: Loaded, chats: list[list[int]]) -> list[list[int]]:
    """Generate replies with the shared-prefix engine."""
    prefix_ids = engine.shared_prefix(chats)
    with torch.no_grad():
        prefix = engine.run_prefix(loaded.model, prefix_ids)
    suffixes, stop = engine.split(chats, prefix_ids), loaded.stop_ids
    given = {"max_new_tokens": NEW_TOKENS, "stop_ids": stop, "batch_size": BATCH}
    return [reply.token_ids for reply in engine.generate(loaded.model, prefix, suffixes, **given)]


def stock_replies(loaded: Loaded, chats: list[list[int]]) -> list[list[int]]:
    """Generate replies with transformers, in left-padded batches of chats of similar length to keep the padding short."""
    order = sorted(range(len(chats)), key=lambda k: len(chats[k]))
    replies: dict[int, list[int]] = {}
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        width = max(len(chats[k]) for k in rows)
        place = loaded.model.device
        ids = torch.tensor([[0] * (width - len(chats[k])) + chats[k] for k in rows], device=place)
        mask = torch.tensor([[0] * (width - len(chats[k])) + [1] * len(chats[k]) for k in rows], device=place)
        output = loaded.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=loaded.stop_ids or None,
            pad_token_id=0,
        )
        for row, tokens in zip(rows, output[:, width:].tolist(), strict=True):
            end = next((k for k, token in enumerate(tokens) if token in loaded.stop_ids), len(tokens))
            replies[row] = tokens[:end]
    return [replies[k] for k in range(len(chats))]


METHODS = {"stock": stock_replies, "ours": our_replies}


def measure(loaded: Loaded, count: int, repeats: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Measure replies per second of both, and the share of equal replies."""
    chats = chats_of(loaded, count)
    rates: dict[str, list[float]] = {"stock": [], "ours": []}
    replies: dict[str, list[list[int]]] = {}
    for method in METHODS.values():
        method(loaded, chats[:4])
    for _ in range(repeats):
        for name, method in METHODS.items():
            began = clock()
            replies[name] = method(loaded, chats)
            rates[name].append(count / (clock() - began))
    same = sum(a == b for a, b in zip(replies["ours"], replies["stock"], strict=True))
    ratios = [a / b for a, b in zip(rates["ours"], rates["stock"], strict=True)]
    prefix = len(engine.shared_prefix(chats))
    tokens = prefix + sum(len(chat) - prefix for chat in chats) + sum(map(len, replies["ours"]))
    flops = 2.0 * tokens * parameters_of(loaded.model) * statistics.median(rates["ours"]) / count
    return {
        "ratio": statistics.median(ratios),
        "same_replies": same / count,
        "replies_per_second_ours": statistics.median(rates["ours"]),
        "replies_per_second_stock": statistics.median(rates["stock"]),
        "share_of_matmul_rate": flops / matmul_rate(loaded.model, clock),
        "mean_reply_tokens": statistics.mean(len(reply) for reply in replies["ours"]),
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=64, help="number of prompts")
    given = parser.parse_args()
    loaded = load(given)
    result = measure(loaded, given.rows, given.repeats, clock_of(given))
    chats = chats_of(loaded, given.rows)
    if given.device.startswith("cuda"):
        result["peak_bytes_ours"] = peak_on_gpu(lambda: our_replies(loaded, chats))
    if given.profile:
        profile(given.profile, lambda: our_replies(loaded, chats))
    show(result, given.json)


if __name__ == "__main__":
    main()
