"""Compare the speed of a training step: with a shared prefix, and with complete sequences and vocabulary logits.

Both use the same batch, loss and optimiser, and give the same gradient. They alternate (reference, ours, reference, ours,
...) in one process. Each number is a median. Peak memory is measured in a separate process.

    python benchmarks/train_step.py --json
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from setting import PROMPT_TOKENS, Loaded, arguments, clock_of, load, questions, show, written_ids
from torch import Tensor

from babelguard import engine
from babelguard.method.losses import Batch, Context
from babelguard.method.objective import row_losses, total_loss
from babelguard.method.space import SafetySpace
from babelguard.models.probes import embed
from babelguard.prompt.hook import soft_prompt
from babelguard.prompt.slot import install, render, tokenise

BATCH = 10
WEIGHTS = {"refusal": 1.0, "harmfulness": 1e-2, "residual": 1e-3, "frozen_alignment": 1e-3}


class Setting(NamedTuple):
    """A batch of chats with the soft prompt, the constants of its loss, the step size and the clock."""

    model: Any
    chats: list[list[int]]
    token_ids: tuple[int, ...]
    theta: Tensor
    base: Tensor
    target: Tensor
    labels: Tensor
    space: SafetySpace
    step_size: float
    clock: Callable[[], float]


class Outcome(NamedTuple):
    """Loss and gradient of a step, and the time it took."""

    loss: float
    gradient: Tensor
    seconds: float


def prepare(loaded: Loaded, clock: Callable[[], float]) -> Setting:
    """Prepare the batch. Theta is the written prompt with noise, and the base states are those of the written prompt."""
    model, tokenizer = loaded.model, loaded.tokenizer
    torch.manual_seed(0)
    carrier, slot = install(tokenizer, PROMPT_TOKENS, model.get_input_embeddings().weight.shape[0])
    chats = [tokenise(carrier, render(carrier, [{"role": "user", "content": text}])) for text in questions(BATCH)]
    written = embed(model, written_ids(tokenizer))
    rms = float(written.pow(2).mean().sqrt())
    with torch.no_grad(), soft_prompt(model, written, slot.token_ids):
        base = our_states(model, chats)
    width = base.shape[1]
    space = SafetySpace(
        mean=base.mean(0),
        components=torch.linalg.qr(torch.randn(width, 4))[0].T.contiguous(),
        refusal_weight=torch.randn(4) / base.std(),
        refusal_bias=torch.tensor(0.0),
        harmfulness_weight=torch.randn(4) / base.std(),
        harmfulness_bias=torch.tensor(0.0),
        explained=float("nan"),
    )
    theta = written + 0.05 * rms * torch.randn_like(written)
    target = base + 0.1 * base.std() * torch.randn_like(base)
    labels = torch.arange(BATCH) % 2
    return Setting(model, chats, slot.token_ids, theta, base, target, labels, space, 0.02 * rms, clock)


def our_states(model: Any, chats: list[list[int]]) -> Tensor:
    """Compute the states as in training: the shared prefix once, then the suffixes."""
    prefix_ids = engine.shared_prefix(chats)
    return engine.last_states(model, engine.run_prefix(model, prefix_ids), engine.split(chats, prefix_ids))


def our_step(setting: Setting) -> Outcome:
    """Do one step with the shared prefix."""
    parameter = torch.nn.Parameter(setting.theta.clone())
    with soft_prompt(setting.model, parameter, setting.token_ids):
        return finish(setting, parameter, lambda: our_states(setting.model, setting.chats))


def reference_step(setting: Setting) -> Outcome:
    """Do one step with complete sequences, padded on the right into one batch, with theta in every row.

    The model computes all vocabulary logits and returns all hidden states, of which the last is used.
    """
    model, parameter = setting.model, torch.nn.Parameter(setting.theta.clone())
    lengths = torch.tensor([len(chat) for chat in setting.chats])
    mask = (torch.arange(int(lengths.max())) < lengths.unsqueeze(1)).long()
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(chat) for chat in setting.chats], batch_first=True)
    start = setting.chats[0].index(setting.token_ids[0])
    end = start + PROMPT_TOKENS

    def states() -> Tensor:
        embedded = model.get_input_embeddings()(ids)
        soft = parameter.expand(len(ids), -1, -1)
        whole = torch.cat([embedded[:, :start], soft, embedded[:, end:]], dim=1)
        output = model(inputs_embeds=whole, attention_mask=mask, output_hidden_states=True, use_cache=False)
        last: Tensor = output.hidden_states[-1][torch.arange(len(ids)), lengths - 1]
        return last

    return finish(setting, parameter, states)


def finish(setting: Setting, parameter: torch.nn.Parameter, states: Callable[[], Tensor]) -> Outcome:
    """Do one step and measure its time: states, loss, backward pass, gradient clipping and AdamW."""
    optimiser = torch.optim.AdamW([parameter], lr=setting.step_size, weight_decay=0.0)
    began = setting.clock()
    language = torch.zeros(BATCH, dtype=torch.long)
    batch = Batch(states(), None, setting.base, setting.base, setting.target, setting.labels, language)
    loss = total_loss(row_losses(batch, Context(setting.space), WEIGHTS), language, torch.ones(1))
    loss.backward()
    gradient = torch.empty(0) if parameter.grad is None else parameter.grad.clone()
    torch.nn.utils.clip_grad_norm_([parameter], 1.0)
    optimiser.step()
    return Outcome(float(loss.detach()), gradient, setting.clock() - began)


# Settings of glibc that return freed memory to the system at once. Otherwise, memory kept from loading would be reused by the
# step and not be counted.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_TOP_PAD_": "0"}
STEPS = {"ours": our_step, "reference": reference_step}


def floor_flops(setting: Setting) -> float:
    """Return the minimum number of operations of a step.

    It is 4 per token and non-embedding parameter: 2 in the forward pass, and 2 in the backward pass to the activations.
    """
    prefix = len(engine.shared_prefix(setting.chats))
    tokens = prefix + sum(len(chat) - prefix for chat in setting.chats)
    tables = {id(m.weight): m.weight.numel() for m in (setting.model.get_input_embeddings(), setting.model.lm_head)}
    parameters = sum(p.numel() for p in setting.model.parameters()) - sum(tables.values())
    return 4.0 * tokens * parameters


def matmul_rate(clock: Callable[[], float], size: int = 2048, repeats: int = 5) -> float:
    """Return the median floating-point operations per second of a square float32 matrix product."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(repeats):
        began = clock()
        left @ right
        seconds.append(clock() - began)
    return 2 * size**3 / statistics.median(seconds)


def peak_memory(loaded: Loaded, name: str) -> int:
    """Return the additional memory of one step in bytes. Must run in a separate process."""
    setting = prepare(loaded, time.perf_counter)  # also reads the memory-mapped weights
    gc.collect()
    with suppress(AttributeError, OSError):  # on Linux: release free memory and reset the peak
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    STEPS[name](setting)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (after - before) * (1 if sys.platform == "darwin" else 1024)


def measure(loaded: Loaded, repeats: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Measure both steps and compare their results."""
    setting = prepare(loaded, clock)
    theirs, ours = reference_step(setting), our_step(setting)  # also warms up both steps
    seconds: dict[str, list[float]] = {"reference": [], "ours": []}
    shares = []
    for _ in range(repeats):
        for name in seconds:
            seconds[name].append(STEPS[name](setting).seconds)
        shares.append(floor_flops(setting) / seconds["ours"][-1] / matmul_rate(setting.clock))
    ratios = [a / b for a, b in zip(seconds["reference"], seconds["ours"], strict=True)]
    error = (ours.gradient - theirs.gradient).norm() / theirs.gradient.norm()
    return {
        "ratio": statistics.median(ratios),
        "gradient_relative_error": float(error),
        "loss_relative_error": abs(ours.loss - theirs.loss) / abs(theirs.loss),
        "share_of_matmul_rate": statistics.median(shares),
        "seconds_ours": statistics.median(seconds["ours"]),
        "seconds_reference": statistics.median(seconds["reference"]),
        "prefix_tokens": len(engine.shared_prefix(setting.chats)),
        "chat_tokens": [len(chat) for chat in setting.chats],
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--peak", choices=STEPS, help="only measure the peak memory of this step")
    given = parser.parse_args()
    clock = clock_of(given.busy)
    if given.peak:
        print(peak_memory(load(given.model, given.chat_template), given.peak))
        return
    peaks = {}
    for name in STEPS:  # before the model is loaded, because ru_maxrss of a child starts at that of its parent
        again = [sys.executable, __file__, *sys.argv[1:], "--peak", name]
        child = subprocess.run(again, check=True, capture_output=True, text=True, env=os.environ | GIVE_BACK)
        peaks[name] = int(child.stdout)
    loaded = load(given.model, given.chat_template)
    result = measure(loaded, given.repeats, clock)
    memory = {f"peak_bytes_{name}": peak for name, peak in peaks.items()}
    show(result | {"peak_memory_ratio": peaks["ours"] / peaks["reference"]} | memory, given.json)


if __name__ == "__main__":
    main()
