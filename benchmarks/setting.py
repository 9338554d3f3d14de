"""Common parts of the benchmarks: the model, the prompts, a written prompt of 112 tokens, and the options."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from babelguard.corpus import load_corpus
from babelguard.defences.written import WRITTEN_PROMPTS
from babelguard.models.load import load_chat_model

LANGUAGES = ("en", "ko", "el")
PROMPT_TOKENS = 112


class Loaded(NamedTuple):
    """A frozen model, its tokenizer with a chat template, and the token ids that end a reply."""

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
    parser.add_argument("--repeats", type=int, default=3, help="number of measurements")
    parser.add_argument("--busy", action="store_true", help="measure processor time of one thread, for a busy machine")
    parser.add_argument("--json", action="store_true", help="print only a JSON object")
    return parser


def clock_of(busy: bool) -> Callable[[], float]:
    """Return a clock: wall time, or processor time on a busy machine, which depends less on other programs."""
    if not busy:
        return time.perf_counter
    torch.set_num_threads(1)
    return time.process_time


def load(name: str, template: Path | None = None, dtype: str = "float32") -> Loaded:
    """Load a model on the CPU. With `template`, it can be a base model without a chat template."""
    if template is None:
        chat = load_chat_model(name, device="cpu", dtype=dtype)
        return Loaded(chat.model, chat.tokenizer, chat.stop_ids)
    folder = Path(name).expanduser()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template.read_text(encoding="utf-8")
    return Loaded(model, tokenizer, [tokenizer.eos_token_id])


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
