"""Train the adapter of the demo model, which turns Gemma 3 270M into a small chat model that shows the problem.

    python demo/train_adapter.py --output FIRST --ends ENDS
    python demo/train_adapter.py --start ENDS/before --phases 2,3 --seed 1 --output SECOND
    python demo/train_adapter.py --start SECOND --phases 4 --seed 4 --lr 5e-4

The training data in demo/data was written for this project: refusals of English harmful requests, plain and obfuscated, short
helpful answers to their harmless twins and to other English requests, and answers in Korean, Greek and Chinese. No answer to a
harmful request is trained. The resulting model refuses harmful requests in English, answers them in other languages, and refuses
harmless requests in languages that it knows little of. The second call continues from the end of phase 2 and trains phases
2 and 3 on the same rows, because one pass was not enough to distinguish twins. The third call shifts the balance towards
answering. Training takes about 30 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from obfuscate import obfuscate
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from training_rows import HERE, PHASES, Phase, Row, batches, chat_rows, encode, read_lines
from transformers import AutoModelForCausalLM, AutoTokenizer

from babelguard.models.packaged import PACKAGED

ADAPTER = HERE.parent / "src" / "babelguard" / "models" / "demo_adapter"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class FrozenHeadLoss(torch.autograd.Function):
    """Weighted cross-entropy after a frozen output matrix, computed for 64 tokens at a time to save memory."""

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
    """Return the negative log-likelihood of the answers. Vocabulary logits are computed for the answer tokens only.

    The weight of a row does not depend on the length of its answer. The first token has a third of the weight, because it
    decides between refusing and answering.
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
    """Return the parameters of the adapter, in the order of the model."""
    return [p for p in model.parameters() if p.requires_grad]


def put(weights: Sequence[torch.Tensor], parameters: Sequence[Any]) -> None:
    """Copy weights into parameters, converted to their dtype."""
    for weight, parameter in zip(weights, parameters, strict=True):
        parameter.data.copy_(weight.detach())


def base_model() -> Path:
    """Return the folder of the base model without the adapter. The first call converts it."""

    def unchanged(model: Any, tokenizer: Any, folder: Path) -> None:
        model.to(torch.bfloat16)

    return replace(PACKAGED["demo"], name="gemma-3-270m-base", finish=unchanged, key=lambda: "").prepare(print)


def adapted(base: Path, start: Path | None, rank: int) -> Any:
    """Load the base model with a new adapter, or with the adapter of earlier phases."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS, task_type="CAUSAL_LM")
    model = get_peft_model(model, config, autocast_adapter_dtype=False)
    if start is not None:
        set_peft_model_state_dict(model, load_file(start / "adapter_model.safetensors"))
    return model


class Ends(NamedTuple):
    """Float32 weights of the adapter at the start and at the end of the last phase, in the order of the model."""

    before: list[torch.Tensor]
    after: list[torch.Tensor]

    def part(self, kept: float) -> list[torch.Tensor]:
        """Interpolate between the start (0) and the end (1)."""
        return [first + kept * (last - first) for first, last in zip(self.before, self.after, strict=True)]


def train(model: Any, tokenizer: Any, phases: list[Phase], lr: float, rng: random.Random) -> Ends:
    """Train all phases. Afterwards, the model has the weights at the end of the last phase."""
    parameters = trained(model)
    # The model computes in bfloat16, but the optimiser updates float32 copies, because small updates vanish in bfloat16.
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
            # 40 % of the rows have a neutral system message, so that the model learns the system role.
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
    """Save the adapter and its chat template. An existing model card is kept; peft would replace it by a blank one."""
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
    parser.add_argument("--base", type=Path, help="folder of the base model; default: converted from its packages")
    parser.add_argument("--output", type=Path, default=ADAPTER, help="folder of the adapter")
    parser.add_argument("--phases", default="1,2,3", help="phases to train, separated by commas")
    parser.add_argument(
        "--ends", type=Path, help="also save the weights at the start and end of the last phase here, to choose `kept`"
    )
    parser.add_argument("--start", type=Path, default=None, help="folder of an adapter to continue from")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--rank", type=int, default=8, help="rank of the adapter")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    base = args.base or base_model()
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = (HERE / "chat_template.jinja").read_text(encoding="utf-8").strip()
    model = adapted(base, args.start, args.rank)
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
