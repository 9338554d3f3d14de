"""Compare the speed of a training step: with a shared prefix, and with complete sequences and vocabulary logits.

Both use the same batch, loss and optimiser, and give the same gradient. They alternate (reference, ours, reference, ours,
...) in one process. Each number is a median. Peak memory on the CPU is measured in a separate process.

    python benchmarks/train_step.py --json
    python benchmarks/train_step.py --device cuda --random 7b --profile table.txt
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
from setting import (
    PROMPT_TOKENS,
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
from torch import Tensor

from babelguard import engine
from babelguard.method.losses import Batch, Context, StartStates
from babelguard.method.objective import row_losses, total_loss
from babelguard.method.passes import PromptPasses
from babelguard.method.space import SafetySpace
from babelguard.models.probes import embed
from babelguard.prompt.hook import soft_prompt
from babelguard.prompt.slot import install, render, tokenise

BATCH = 10
RANDOM_BATCH = 16
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
    model = loaded.model
    torch.manual_seed(0)
    chats, token_ids, start = chats_of(loaded)
    written = embed(model, start)
    rms = float(written.pow(2).mean().sqrt())
    prefix_ids = engine.shared_prefix(chats)
    with torch.no_grad(), soft_prompt(model, written, token_ids):
        prefix = engine.run_prefix(model, prefix_ids)
        base = engine.last_states(model, prefix, engine.split(chats, prefix_ids)).float()
    width = base.shape[1]
    space = SafetySpace(
        mean=base.mean(0).cpu(),
        components=torch.linalg.qr(torch.randn(width, 4))[0].T.contiguous(),
        refusal_weight=torch.randn(4) / float(base.std()),
        refusal_bias=torch.tensor(0.0),
        harmfulness_weight=torch.randn(4) / float(base.std()),
        harmfulness_bias=torch.tensor(0.0),
        explained=float("nan"),
    )
    theta = written + 0.05 * rms * torch.randn_like(written)
    target = base + 0.1 * base.std() * torch.randn_like(base)
    labels = torch.arange(len(chats), device=base.device) % 2
    return Setting(
        model, chats, token_ids, theta, base, target, labels.float(), space.to(base.device), 0.02 * rms, clock
    )


def chats_of(loaded: Loaded) -> tuple[list[list[int]], tuple[int, ...], list[int]]:
    """Return the token ids of the chats, the placeholders in them, and the token ids of the written prompt."""
    if loaded.tokenizer is None:
        chats, placeholders = random_chats(loaded.model, RANDOM_BATCH)
        return chats, placeholders, list(range(3, 3 + PROMPT_TOKENS))
    carrier, slot = install(loaded.tokenizer, PROMPT_TOKENS, loaded.model.get_input_embeddings().weight.shape[0])
    chats = [tokenise(carrier, render(carrier, [{"role": "user", "content": text}])) for text in questions(BATCH)]
    return chats, slot.token_ids, written_ids(loaded.tokenizer)


def our_step(setting: Setting) -> Outcome:
    """Do one step with the shared prefix, as in training."""
    parameter = torch.nn.Parameter(setting.theta.clone())
    prefix_ids = engine.shared_prefix(setting.chats)
    suffixes = engine.split(setting.chats, prefix_ids)
    passes = PromptPasses(setting.model, setting.token_ids)

    def states() -> Tensor:
        return passes.forward(parameter, prefix_ids, suffixes, None)

    def gradient(last: Tensor) -> None:
        if last.grad is None:
            raise ValueError("the loss does not depend on the states")
        parameter.grad = passes.backward(last.grad)

    return finish(setting, parameter, states, gradient)


def reference_step(setting: Setting) -> Outcome:
    """Do one step with complete sequences, padded on the right into one batch, with theta in every row.

    The model computes all vocabulary logits and returns all hidden states, of which the last is used.
    """
    model, parameter = setting.model, torch.nn.Parameter(setting.theta.clone())
    place = model.device
    lengths = torch.tensor([len(chat) for chat in setting.chats], device=place)
    mask = (torch.arange(int(lengths.max()), device=place) < lengths.unsqueeze(1)).long()
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(chat) for chat in setting.chats], batch_first=True).to(place)
    start = setting.chats[0].index(setting.token_ids[0])
    end = start + PROMPT_TOKENS

    def states() -> Tensor:
        embedded = model.get_input_embeddings()(ids)
        soft = parameter.to(embedded.dtype).expand(len(ids), -1, -1)
        whole = torch.cat([embedded[:, :start], soft, embedded[:, end:]], dim=1)
        output = model(inputs_embeds=whole, attention_mask=mask, output_hidden_states=True, use_cache=False)
        last: Tensor = output.hidden_states[-1][torch.arange(len(ids), device=place), lengths - 1]
        return last.float().unsqueeze(0)

    return finish(setting, parameter, states)


def finish(
    setting: Setting,
    parameter: torch.nn.Parameter,
    states: Callable[[], Tensor],
    gradient: Callable[[Tensor], None] | None = None,
) -> Outcome:
    """Do one step and measure its time: states, loss, backward pass, gradient clipping and AdamW.

    Args:
        setting: The batch.
        parameter: Theta.
        states: Computes the states, [1, batch, d].
        gradient: Continues the backward pass from the states, if they do not depend on the parameter for autograd.
    """
    optimiser = torch.optim.AdamW([parameter], lr=setting.step_size, weight_decay=0.0)
    began = setting.clock()
    found = states()
    last = found[0]
    language = torch.zeros(len(setting.chats), dtype=torch.long, device=found.device)
    start = StartStates(setting.base, setting.base, setting.base, setting.target)
    batch = Batch(last, None, setting.labels, language, last, start)
    weights = torch.ones(1, 2, device=found.device)
    loss = total_loss(row_losses(batch, Context(setting.space), WEIGHTS), language, setting.labels, weights)
    loss.backward()
    if gradient is not None:
        gradient(found)
    whole = torch.empty(0) if parameter.grad is None else parameter.grad.clone()
    torch.nn.utils.clip_grad_norm_([parameter], 1.0)
    optimiser.step()
    return Outcome(float(loss.detach()), whole, setting.clock() - began)


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
    return 4.0 * tokens * parameters_of(setting.model)


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
        shares.append(floor_flops(setting) / seconds["ours"][-1] / matmul_rate(setting.model, setting.clock))
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
    clock, on_gpu, peaks = clock_of(given), given.device.startswith("cuda"), {}
    if given.peak:
        print(peak_memory(load(given), given.peak))
        return
    # Before the model is loaded, because ru_maxrss of a child starts at that of its parent.
    for name in () if on_gpu else STEPS:
        again = [sys.executable, __file__, *sys.argv[1:], "--peak", name]
        child = subprocess.run(again, check=True, capture_output=True, text=True, env=os.environ | GIVE_BACK)
        peaks[name] = int(child.stdout)
    loaded = load(given)
    result = measure(loaded, given.repeats, clock)
    setting = prepare(loaded, clock)
    if on_gpu:
        peaks = {name: peak_on_gpu(lambda step=step: step(setting)) for name, step in STEPS.items()}
    if given.profile:
        profile(given.profile, lambda: our_step(setting))
    memory = {f"peak_bytes_{name}": peak for name, peak in peaks.items()}
    show(result | {"peak_memory_ratio": peaks["ours"] / peaks["reference"]} | memory, given.json)


if __name__ == "__main__":
    main()
