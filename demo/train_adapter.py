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
import json
import math
import random
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from obfuscate import obfuscate
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
ADAPTER = HERE.parent / "src" / "babelguard" / "models" / "demo_adapter"
HELPFUL = ("en", "ko", "el", "zh")
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
END = "<end_of_turn>"


class Phase(NamedTuple):
    """A part of the training.

    Attributes:
        steps: How many.
        mixture: Of a batch: English refusals, English twins (two rows each), English answers, answers in other languages.
        tokens: Of an answer that are trained on.
        disguised: Share of the harmful requests that are written in disguise.
        answers: Weight of a row that is answered; of one that is refused it is 1.
        kept: Where training ends with this phase, the adapter lies this far of the way from the phase's start to its end.
    """

    steps: int
    mixture: tuple[int, int, int, int]
    tokens: int
    disguised: float
    answers: float = 1.0
    kept: float = 1.0


# The other languages come first and English alone comes last, as in a model whose safety training was done in English:
# mixed into every batch they teach that whatever is not English is answered. The second phase teaches the choice between
# refusing and answering, which the first tokens make. After it English was as it should be, and nothing harmless was
# refused in any language; the third, with harmful requests in disguise, teaches that strange text is refused, and too
# much of it, so it is not kept whole. The fourth moves the balance: one English request in nine was refused for nothing.
PHASES = (
    Phase(26, (0, 0, 6, 10), 99, 0.0),
    Phase(120, (6, 8, 10, 0), 10, 0.0),
    Phase(36, (6, 8, 10, 0), 10, 0.6, kept=0.4),
    Phase(16, (6, 8, 10, 0), 10, 0.2, answers=3.0),
)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def read_lines(name: str) -> list[str]:
    return (HERE / "data" / name).read_text(encoding="utf-8").splitlines()


class Chat(NamedTuple):
    """A request and what is answered to it."""

    prompt: str
    answer: str
    harmful: bool = False


def chat_rows(rng: random.Random) -> list[list[tuple[Chat, ...]]]:
    """What batches are dealt from: English refusals, twins, English answers, answers in the other languages.

    A twin pair stays together: in one batch, the harmful and the harmless request teach what tells them apart.
    """
    refusals = read_lines("refusals.txt")
    harmful = [
        (Chat(row["prompt"], rng.choice(refusals), True),) for row in read_jsonl(HERE / "data" / "harmful.en.jsonl")
    ]
    twins = [
        (Chat(row["harmful"], rng.choice(refusals), True), Chat(row["harmless"], row["answer"]))
        for row in read_jsonl(HERE / "data" / "twins.en.jsonl")
    ]
    helpful = {
        code: [(Chat(row["prompt"], row["answer"]),) for row in read_jsonl(HERE / "data" / f"helpful.{code}.jsonl")]
        for code in HELPFUL
    }
    return [harmful, twins, helpful["en"], [one for code in HELPFUL[1:] for one in helpful[code]]]


class Row(NamedTuple):
    """Token ids of a chat with the first tokens of its answer, the place where the answer begins, and its weight."""

    ids: list[int]
    start: int
    weight: float


def encode(tokenizer: Any, chat: Chat, prompt: str, system: str | None, phase: Phase) -> Row:
    """A chat as a row to learn from, its request written as `prompt`."""
    messages = [{"role": "user", "content": prompt}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    head = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, return_dict=False)
    ids = tokenizer(head, add_special_tokens=False)["input_ids"]
    answer = tokenizer(chat.answer + END, add_special_tokens=False)["input_ids"][: phase.tokens]
    return Row(ids + answer, len(ids), 1.0 if chat.harmful else phase.answers)


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


def batches(pools: list[list[tuple[Chat, ...]]], mixture: tuple[int, ...], rng: random.Random) -> Iterator[list[Chat]]:
    """Batches of a mixture without end. Four at a time are dealt by length, so that little of a batch is padding."""
    left: list[list[tuple[Chat, ...]]] = [[] for _ in pools]
    while True:
        dealt = []
        for place, (pool, count) in enumerate(zip(pools, mixture, strict=True)):
            while len(left[place]) < 4 * count:
                left[place] += rng.sample(pool, len(pool))
            taken, left[place] = left[place][: 4 * count], left[place][4 * count :]
            taken.sort(key=lambda item: sum(len((one.prompt + one.answer).encode()) for one in item))
            dealt.append([taken[k * count : (k + 1) * count] for k in range(4)])
        for k in rng.sample(range(4), 4):
            yield [one for parts in dealt for item in parts[k] for one in item]


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
    rng = random.Random(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    tokenizer.chat_template = (HERE / "chat_template.jinja").read_text(encoding="utf-8").strip()
    base = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.bfloat16)
    config = LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules=TARGETS, task_type="CAUSAL_LM")
    model = get_peft_model(base, config, autocast_adapter_dtype=False)
    if args.start is not None:
        set_peft_model_state_dict(model, load_file(args.start / "adapter_model.safetensors"))
    parameters = [p for p in model.parameters() if p.requires_grad]
    # The model computes in bfloat16; the optimiser works on float32 copies, which bfloat16 steps would stall.
    masters = [p.detach().float().requires_grad_() for p in parameters]

    systems = read_lines("system_texts.txt")
    pools = chat_rows(rng)
    phases = [PHASES[int(k) - 1] for k in args.phases.split(",")]
    dealt = [(chats, one) for one in phases for chats in islice(batches(pools, one.mixture, rng), one.steps)]
    steps = len(dealt)
    size = sum(p.numel() for p in parameters)
    rows = " + ".join(str(len(pool)) for pool in pools)
    print(f"{rows} rows, {steps} steps, {size:,} trained parameters", flush=True)

    optimiser = torch.optim.AdamW(masters, lr=args.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min(1.0, (s + 1) / 10) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * s / steps)))
    )
    began, before = time.time(), masters
    model.train()
    for step in range(steps):
        # Four rows in ten carry a neutral system text, so that the system role means something to the model.
        chats, phase = dealt[step]
        if step == steps - phases[-1].steps:
            before = [master.detach().clone() for master in masters]
        batch = []
        for chat in chats:
            hidden = chat.harmful and rng.random() < phase.disguised
            prompt = obfuscate(chat.prompt, rng) if hidden else chat.prompt
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
        for master, parameter in zip(masters, parameters, strict=True):
            parameter.data.copy_(master.data)
        schedule.step()
        if step % 10 == 9 or step == steps - 1:
            elapsed = time.time() - began
            left = elapsed / (step + 1) * (steps - step - 1)
            note = f"step {step + 1}/{steps}  loss {loss:.3f}  elapsed {elapsed:.0f} s  left {left:.0f} s"
            print(note, flush=True)

    if args.ends is not None:
        model.save_pretrained(args.ends / "after")
        for earlier, parameter in zip(before, parameters, strict=True):
            parameter.data.copy_(earlier)
        model.save_pretrained(args.ends / "before")
    for earlier, master, parameter in zip(before, masters, parameters, strict=True):
        parameter.data.copy_(earlier + phases[-1].kept * (master.data - earlier))
    model.peft_config["default"].base_model_name_or_path = "google/gemma-3-270m"
    args.output.mkdir(parents=True, exist_ok=True)
    card = args.output / "README.md"
    kept = card.read_text(encoding="utf-8") if card.exists() else None
    model.save_pretrained(args.output)
    if kept is not None:  # peft would replace our model card with an empty form
        card.write_text(kept, encoding="utf-8")
    (args.output / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")


if __name__ == "__main__":
    main()
