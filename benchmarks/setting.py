"""Common parts of the benchmarks: the model, the prompts, a written prompt of 112 tokens, the clock, and the options."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from babelguard.corpus import load_corpus
from babelguard.defences.written import WRITTEN_PROMPTS
from babelguard.models.load import load_chat_model

LANGUAGES = ("en", "ko", "el")
PROMPT_TOKENS = 112
# Shapes of models with random weights: hidden size, size of the MLP, layers, heads, heads of keys and values, vocabulary.
SHAPES = {
    "tiny": (64, 128, 2, 4, 2, 1024),
    "1b": (2048, 8192, 16, 32, 8, 128256),
    "7b": (4096, 14336, 32, 32, 8, 128256),
    "70b": (8192, 28672, 80, 64, 8, 128256),
}


class Loaded(NamedTuple):
    """A frozen model, its tokenizer with a chat template, and the token ids that end a reply.

    A model with random weights has no tokenizer.
    """

    model: Any
    tokenizer: Any
    stop_ids: list[int]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of all benchmarks."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="qwen2.5-coder-0.5b", help="name of a packaged model, a local folder or a hub id"
    )
    parser.add_argument(
        "--chat-template", type=Path, help="Jinja file with a chat template, for a base model that has none"
    )
    parser.add_argument(
        "--random", choices=SHAPES, help="a Llama with random weights of this shape, made on the device"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or mps")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="default: float32, or bfloat16 with --random")
    parser.add_argument("--profile", type=Path, help="file for a table of the operations of one run (torch.profiler)")
    parser.add_argument("--repeats", type=int, default=3, help="number of measurements")
    parser.add_argument("--busy", action="store_true", help="measure processor time of one thread, for a busy machine")
    parser.add_argument("--json", action="store_true", help="print only a JSON object")
    return parser


def clock_of(given: argparse.Namespace) -> Callable[[], float]:
    """Return a clock: wall time, or processor time on a busy machine, which depends less on other programs.

    A GPU works on after a call returns, so the clock waits for it.
    """
    if given.device.startswith("cuda"):

        def after_all() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return after_all
    if not given.busy:
        return time.perf_counter
    torch.set_num_threads(1)
    return time.process_time


def load(given: argparse.Namespace) -> Loaded:
    """Load the model of the options. With a chat template, it can be a base model that has none."""
    if given.random:
        return random_model(given.random, given.device, given.dtype or "bfloat16")
    dtype = given.dtype or "float32"
    if given.chat_template is None:
        chat = load_chat_model(given.model, device=given.device, dtype=dtype)
        return Loaded(chat.model, chat.tokenizer, chat.stop_ids)
    folder = Path(given.model).expanduser()
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    model.eval().requires_grad_(False).to(given.device)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = given.chat_template.read_text(encoding="utf-8")
    return Loaded(model, tokenizer, [tokenizer.eos_token_id])


def random_model(size: str, device: str, dtype: str) -> Loaded:
    """Make a Llama with random weights on the device. No token ends a reply, so all replies have the full length."""
    hidden, inner, layers, heads, key_heads, vocabulary = SHAPES[size]
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        max_position_embeddings=8192,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    return Loaded(model.eval().requires_grad_(False), None, [])


def random_chats(model: Any, count: int) -> tuple[list[list[int]], tuple[int, ...]]:
    """Return the token ids of chats with a prompt of 112 placeholders, and the placeholders.

    The numbers of tokens are about those of chats in English, Korean and Greek.
    """
    rng, rows = random.Random(0), int(model.get_input_embeddings().weight.shape[0])
    placeholders = tuple(range(rows - PROMPT_TOKENS, rows))
    draw = lambda length: [rng.randrange(3, rows - PROMPT_TOKENS) for _ in range(length)]  # noqa: E731
    before, after = draw(8), draw(12)
    return [[*before, *placeholders, *after, *draw(rng.randrange(15, 60))] for _ in range(count)], placeholders


def parameters_of(model: Any) -> int:
    """Return the number of parameters without the embeddings and the head."""
    tables = {id(part.weight): part.weight.numel() for part in (model.get_input_embeddings(), model.lm_head)}
    return sum(weight.numel() for weight in model.parameters()) - sum(tables.values())


def matmul_rate(model: Any, clock: Callable[[], float], repeats: int = 5) -> float:
    """Return the median operations per second of a square matrix product, on the device and in the dtype of the model."""
    size = 8192 if model.device.type == "cuda" else 2048
    left, right = torch.randn(2, size, size, device=model.device, dtype=model.dtype)
    seconds = []
    for _ in range(repeats):
        began = clock()
        left @ right
        seconds.append(clock() - began)
    return 2 * size**3 / statistics.median(seconds)


def peak_on_gpu(work: Callable[[], Any]) -> int:
    """Return the memory in bytes that work on the current GPU adds at its peak."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before


def profile(file: Path, work: Callable[[], Any]) -> None:
    """Write a table of the operations of some work, the slowest first."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    on_gpu = torch.cuda.is_available()
    with profiler(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as found:
        work()
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    file.write_text(found.key_averages().table(sort_by=order, row_limit=60), encoding="utf-8")


def questions(count: int) -> list[str]:
    """Return training prompts of the corpus in English, Korean and Greek. Harmful and harmless prompts alternate."""
    rows = load_corpus().split("train").rows
    pairs = zip(*([row for row in rows if row.label == label] for label in ("harmful", "harmless")), strict=True)
    return [row.texts[code] for pair in pairs for code in LANGUAGES for row in pair][:count]


def written_ids(tokenizer: Any) -> list[int]:
    """Return the token ids of the long written prompt, repeated and truncated to 112 tokens."""
    text = " ".join([WRITTEN_PROMPTS["long"]] * 3)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"][:PROMPT_TOKENS])


def show(result: dict[str, Any], as_json: bool) -> None:
    """Print the numbers, one per line or as JSON."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:>28}  {value:.4g}" if isinstance(value, float) else f"{name:>28}  {value}")
