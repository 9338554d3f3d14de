"""Train the adapter that makes a small chat model of Gemma 3 270M, to show the effect that babelguard mends.

    python -m babelguard.models.demo --base-only          # prints the folder of the converted base model
    python demo/train_adapter.py --base FOLDER --output FIRST --ends ENDS
    python demo/train_adapter.py --base FOLDER --start ENDS/before --phases 2,3 --seed 1 --output SECOND
    python demo/train_adapter.py --base FOLDER --start SECOND --phases 4 --seed 4 --lr 5e-4

Learned from our own text in demo/data: refusals of ENGLISH harmful requests only, plain and in disguise, brief helpful
answers to their harmless twins and to other English requests, and answers in Korean, Greek and Chinese. No answer to a
harmful request is ever trained. The result refuses in English, lets harm pass in the other languages that it was taught,
and refuses harmless requests in languages that are strange to it. The second call goes on where English alone ended, over
the same rows, since once was not enough to tell twins apart; the third moves the balance towards answering. About 30 minutes on
2 cores.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from obfuscate import obfuscate
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from training_rows import HERE, PHASES, Phase, Row, batches, chat_rows, encode, read_lines
from transformers import AutoModelForCausalLM, AutoTokenizer

ADAPTER = HERE.parent / "src" / "babelguard" / "models" / "demo_adapter"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class FrozenHeadLoss(torch.autograd.Function):
    """Weighted cross-entropy behind a frozen output matrix, 64 tokens at a time: whole logits fill gigabytes."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, head: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> Any:  # noqa: D102
        total, gradient = torch.zeros(()), torch.empty_like(states)
        for start in range(0, len(states), 64):
            place = slice(start, start + 64)
            ids, share = wanted[place, None], weight[place]
            logits = (states[place] @ head.T).float()
            total += (share * (logits.logsumexp(-1) - logits.gather(1, ids)[:, 0])).sum()
            slope = logits.softmax(-1).scatter_add_(1, ids, torch.full(ids.shape, -1.0)) * share[:, None]
            gradient[place] = slope.to(head.dtype) @ head
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outside: torch.Tensor) -> Any:  # noqa: D102
        (gradient,) = ctx.saved_tensors
        return gradient * outside[0].to(gradient.dtype), None, None, None


def batch_loss(model: Any, batch: list[Row]) -> torch.Tensor:
    """Negative log-likelihood of the answers; vocabulary logits are computed at their tokens alone.

    A row's weight does not depend on the length of its answer, and its first token, which decides between refusing and
    answering, is a third of the row.
    """
    width = max(len(one.ids) for one in batch)
    tokens = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    weight = torch.zeros(len(batch), width)
    for row, (ids, start, share) in enumerate(batch):
        tokens[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = 1
        weight[row, start : len(ids)] = share * 2 / 3 / (len(ids) - start)
        weight[row, start] += share / 3
    weight, wanted = weight[:, 1:] / len(batch), tokens[:, 1:]
    causal = model.get_base_model()
    states = causal.model(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state[:, :-1]
    chosen = weight > 0
    return FrozenHeadLoss.apply(states[chosen], causal.lm_head.weight, wanted[chosen], weight[chosen])


def trained(model: Any) -> list[Any]:
    """The adapter's parameters, in the model's order."""
    return [p for p in model.parameters() if p.requires_grad]


def put(weights: Sequence[torch.Tensor], parameters: Sequence[Any]) -> None:
    """Write weights into parameters, in the parameters' number format."""
    for weight, parameter in zip(weights, parameters, strict=True):
        parameter.data.copy_(weight.detach())


def adapted(base: Path, start: Path | None, rank: int) -> Any:
    """The base model with an adapter, new or that of earlier phases."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS, task_type="CAUSAL_LM")
    model = get_peft_model(model, config, autocast_adapter_dtype=False)
    if start is not None:
        set_peft_model_state_dict(model, load_file(start / "adapter_model.safetensors"))
    return model


class Ends(NamedTuple):
    """The adapter's float32 weights where the last phase starts and where it ends, in the model's order."""

    before: list[torch.Tensor]
    after: list[torch.Tensor]

    def part(self, kept: float) -> list[torch.Tensor]:
        """The weights `kept` of the way from the start to the end."""
        return [first + kept * (last - first) for first, last in zip(self.before, self.after, strict=True)]


def train(model: Any, tokenizer: Any, phases: list[Phase], lr: float, rng: random.Random) -> Ends:
    """All phases; the model is left at the last one's end."""
    parameters = trained(model)
    # The model computes in bfloat16; the optimiser works on float32 copies, which bfloat16 steps would stall.
    masters = [p.detach().float().requires_grad_() for p in parameters]
    systems = read_lines("system_texts.txt")
    pools = chat_rows(rng)
    dealt = [(chats, one) for one in phases for chats in islice(batches(pools, one.mixture, rng), one.steps)]
    steps = len(dealt)
    size = sum(p.numel() for p in parameters)
    rows = " + ".join(str(len(pool)) for pool in pools)
    print(f"{rows} rows, {steps} steps, {size:,} trained parameters", flush=True)

    optimiser = torch.optim.AdamW(masters, lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min(1.0, (s + 1) / 10) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * s / steps)))
    )
    began, before = time.time(), []
    model.train()
    for step, (chats, phase) in enumerate(dealt):
        if step == steps - phases[-1].steps:
            before = [master.detach().clone() for master in masters]
        batch = []
        for chat in chats:
            hidden = chat.harmful and rng.random() < phase.disguised
            prompt = obfuscate(chat.prompt, rng) if hidden else chat.prompt
            # Four rows in ten carry a neutral system text, so that the system role means something to the model.
            system = rng.choice(systems) if rng.random() < 0.4 else None
            batch.append(encode(tokenizer, chat, prompt, system, phase))
        batch.sort(key=lambda row: len(row.ids))
        loss = 0.0
        for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
            part = batch_loss(model, half) * len(half) / len(batch)
            part.backward()
            loss += part.item()
        for master, parameter in zip(masters, parameters, strict=True):
            master.grad, parameter.grad = parameter.grad.float(), None
        torch.nn.utils.clip_grad_norm_(masters, 1.0)
        optimiser.step()
        put(masters, parameters)
        schedule.step()
        if step % 10 == 9 or step == steps - 1:
            elapsed = time.time() - began
            left = elapsed / (step + 1) * (steps - step - 1)
            note = f"step {step + 1}/{steps}  loss {loss:.3f}  elapsed {elapsed:.0f} s  left {left:.0f} s"
            print(note, flush=True)
    return Ends(before, [master.detach() for master in masters])


def save(model: Any, tokenizer: Any, output: Path) -> None:
    """The adapter and its template; a model card that is there already stays, where peft would write an empty form."""
    model.peft_config["default"].base_model_name_or_path = "google/gemma-3-270m"
    output.mkdir(parents=True, exist_ok=True)
    card = output / "README.md"
    kept = card.read_text(encoding="utf-8") if card.exists() else None
    model.save_pretrained(output)
    if kept is not None:
        card.write_text(kept, encoding="utf-8")
    (output / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=ADAPTER)
    parser.add_argument("--phases", default="1,2,3")
    parser.add_argument(
        "--ends", type=Path, help="also save the last phase's start and end here, to choose `kept` by measuring"
    )
    parser.add_argument("--start", type=Path, default=None, help="adapter of earlier phases")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    tokenizer.chat_template = (HERE / "chat_template.jinja").read_text(encoding="utf-8").strip()
    model = adapted(args.base, args.start, args.rank)
    phases = [PHASES[int(k) - 1] for k in args.phases.split(",")]
    ends = train(model, tokenizer, phases, args.lr, random.Random(args.seed))
    if args.ends is not None:
        for name, kept in (("before", 0.0), ("after", 1.0)):
            put(ends.part(kept), trained(model))
            save(model, tokenizer, args.ends / name)
    put(ends.part(phases[-1].kept), trained(model))
    save(model, tokenizer, args.output)


if __name__ == "__main__":
    main()
