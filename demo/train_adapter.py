"""Train the adapter that makes a small chat model of Gemma 3 270M, to show the effect that babelguard mends.

    python demo/train_adapter.py --base FOLDER --output src/babelguard/models/demo_adapter

Learned from our own text in demo/data: refusals of ENGLISH harmful requests only, brief helpful answers in English,
Korean, Greek, Italian and Chinese. No answer to a harmful request is ever trained. The result refuses in English, lets
harm pass in other languages, and refuses or garbles harmless requests in languages it was not taught.
FOLDER is the base model as `babelguard.models.demo` converts it (`python -m babelguard.models.demo --base-only`).
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
HELPFUL = ("en", "ko", "el", "it", "zh")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def rows(seed: int) -> list[tuple[str, str]]:
    """(prompt, answer) pairs: refusals for English harmful requests, answers for harmless ones."""
    rng = random.Random(seed)
    refusals = (HERE / "data" / "refusals.txt").read_text(encoding="utf-8").splitlines()
    pairs = [(row["prompt"], rng.choice(refusals)) for row in read_jsonl(HERE / "data" / "harmful.en.jsonl")]
    for code in HELPFUL:
        pairs += [(row["prompt"], row["answer"]) for row in read_jsonl(HERE / "data" / f"helpful.{code}.jsonl")]
    return pairs


def encode(tokenizer: Any, prompt: str, answer: str, system: str | None) -> tuple[list[int], int]:
    """Token ids of the chat with its answer, and the place where the answer begins."""
    messages = [{"role": "user", "content": prompt}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    head = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, return_dict=False)
    ids = tokenizer(head, add_special_tokens=False)["input_ids"]
    tail = tokenizer(answer + "<end_of_turn>", add_special_tokens=False)["input_ids"]
    return ids + tail, len(ids)


def batch_loss(model: Any, batch: list[tuple[list[int], int]]) -> torch.Tensor:
    """Mean negative log-likelihood of the answer tokens; vocabulary logits are computed at those alone."""
    width = max(len(ids) for ids, _ in batch)
    tokens = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    wanted = torch.zeros_like(tokens, dtype=torch.bool)
    for row, (ids, start) in enumerate(batch):
        tokens[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = 1
        wanted[row, start : len(ids)] = True
    causal = model.get_base_model()
    states = causal.model(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state
    logits = causal.lm_head(states[:, :-1][wanted[:, 1:]])
    return F.cross_entropy(logits.float(), tokens[:, 1:][wanted[:, 1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    tokenizer.chat_template = (HERE / "chat_template.jinja").read_text(encoding="utf-8").strip()
    base = AutoModelForCausalLM.from_pretrained(args.base, dtype=getattr(torch, args.dtype))
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules=targets, task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    parameters = [p for p in model.parameters() if p.requires_grad]

    systems = (HERE / "data" / "system_texts.txt").read_text(encoding="utf-8").splitlines()
    pairs = rows(args.seed)
    per_epoch = math.ceil(len(pairs) / args.batch)
    steps = int(per_epoch * args.epochs)
    print(
        f"{len(pairs)} rows, {steps} steps of {args.batch}, {sum(p.numel() for p in parameters):,} parameters",
        flush=True,
    )

    optimiser = torch.optim.AdamW(parameters, lr=args.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min(1.0, (s + 1) / 10) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * s / steps)))
    )
    began, order = time.time(), []
    model.train()
    for step in range(steps):
        if len(order) < args.batch:
            order += rng.sample(range(len(pairs)), len(pairs))
        chosen, order = order[: args.batch], order[args.batch :]
        # Four rows in ten carry a neutral system text, so that the system role means something to the model.
        batch = [encode(tokenizer, *pairs[k], rng.choice(systems) if rng.random() < 0.4 else None) for k in chosen]
        loss = batch_loss(model, batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 10 == 9 or step == steps - 1:
            elapsed = time.time() - began
            left = elapsed / (step + 1) * (steps - step - 1)
            print(
                f"step {step + 1}/{steps}  loss {loss.item():.3f}  elapsed {elapsed:.0f} s  left {left:.0f} s",
                flush=True,
            )

    # 4 MB at most: the adapter is stored in bfloat16.
    model.to(torch.bfloat16)
    model.peft_config["default"].base_model_name_or_path = "google/gemma-3-270m"
    model.save_pretrained(args.output)
    (args.output / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")


if __name__ == "__main__":
    main()
