"""States, replies and training of a tiny model, by as many processes as there are; see test_parallel.py.

torchrun --nproc_per_node 2 tests/together.py MODEL SHARDING BATCH FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from babelguard import parallel
from babelguard.config import Settings
from babelguard.config.sections import Training
from babelguard.defences import NoDefence, SoftDefence
from babelguard.jobs.load_model import load_model, with_all_processes
from babelguard.method.data import TrainingData
from babelguard.method.losses import Context, FirstTokens
from babelguard.method.objective import resolve_weights
from babelguard.method.passes import PromptPasses
from babelguard.method.space import SafetySpace
from babelguard.method.trainer import train
from babelguard.models.probes import embed
from babelguard.prompt.slot import install
from babelguard.targets import LocalModel

ROWS = 10
# The lengths differ, so that the processes have different numbers of groups and of batches.
QUESTIONS = [f"{word} {'x ' * (7 * k % 23)}" for word in ("bake", "bag", "굽") for k in range(ROWS)]


def report_of(model):
    """Say how this process holds the model."""
    return parallel.rank(), os.getpid(), sorted({type(weight).__name__ for weight in model.parameters()})


def work(settings, batch, folder):
    """Use the model for everything that a run uses it for."""
    chat = load_model(settings)
    model, target = chat.model, LocalModel(chat, 4)
    carrier, slot = install(chat.tokenizer, 4, model.get_input_embeddings().weight.shape[0])
    soft = SoftDefence("soft", embed(model, [20, 21, 22, 23]), slot, carrier)
    found, replies = {"who": parallel.lead(report_of, model)}, {}
    for defence in (NoDefence(), soft):
        found[f"states/{defence.name}"] = target.states_at_layers(defence, QUESTIONS, (1,))
        target.replies(defence, QUESTIONS[:9], tokens=[6, 2, 4] * 3, done=replies.update, known={0})
        found[f"replies/{defence.name}"] = dict(sorted(replies.items()))
    chats = target.render(soft, QUESTIONS)
    start = target.states_of(soft, chats, ()).unflatten(1, (3, ROWS))
    suffixes = [chats.suffixes[k : k + ROWS] for k in range(0, len(QUESTIONS), ROWS)]
    groups = [[k, k + 5] for k in range(5)]
    data = TrainingData(chats.prefix_ids, suffixes, (torch.arange(ROWS) % 2).float(), 0, groups, None, start)
    rng = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=rng)  # noqa: E731
    components = torch.linalg.qr(draw(64, 4))[0].T
    space = SafetySpace(start.mean((0, 1, 2)), components, draw(4), draw(1)[0], draw(4), draw(1)[0], 1.0)
    theta, progress = train(
        PromptPasses(model, slot.token_ids),
        soft.theta,
        data,
        Context(space, FirstTokens(draw(5, 64) / 8, draw(3, 64) / 8)),
        weights=resolve_weights({"behaviour": 0.5}),
        training=Training(steps=6, batch_size=batch, learning_rate=0.05),
        seed=0,
        step_size=0.01,
        folder=folder,
        alignment_languages=2,
        weighting="errors",
        validate=lambda theta, _: float(target.states(soft.with_theta(theta, 0), QUESTIONS[:3]).mean()),
        validate_every=3,
    )
    return found | {"theta": theta, "history": progress.history, "best": progress.best_step}


def run(name, sharding, batch, folder):
    """Run `work` with all processes."""
    settings = Settings(model=str(name), sharding=sharding, device="cpu", dtype="float32")
    return with_all_processes(settings, lambda: work(settings, int(batch), Path(folder)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank = parallel.launched_rank()
    torch.save(run(*sys.argv[1:]), Path(sys.argv[4]) / f"result-{rank}.pt")
