"""Train the classifier of the encoder judge on the training half of the labelled replies, and write its weights.

    python experiments/train_encoder_judge.py --cache embeddings.npz

The labelled replies are in `src/babelguard/judges/data`. Each reply is used as it is, without its question, cut off (only if its
class is still clear then), and, if it has a row of the corpus as its question, with the question of the twin row, which has the
opposite label. So the classifier cannot learn from the question whether a reply refuses.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import nn

from babelguard.corpus import load_corpus
from babelguard.judges import encoder_head
from babelguard.judges.base import Verdict
from babelguard.judges.encoder_head import CLASSES
from babelguard.judges.labelled import LabelledReply, labelled_replies
from babelguard.judges.reply_features import OF_QUESTION, reply_features
from babelguard.models.sentence_encoder import SentenceEncoder

OUTPUT = Path(encoder_head.__file__).parent / encoder_head.FILE
# Replies of these classes are also used cut off. Others change their class or are hard to tell when they are cut off.
CUT = frozenset({Verdict.REFUSED, Verdict.SUPPORTED, Verdict.ANSWERED})
# A reply is cut off after this share of its characters, at random, and has at least so many characters then.
SHARES = (0.5, 0.9)
MIN_CHARACTERS = 60


class CachedEncoder:
    """A sentence encoder that keeps embeddings in a file, because embedding all replies takes some minutes."""

    def __init__(self, path: Path | None) -> None:
        self._encoder = SentenceEncoder("Training the judge")
        self._path = path
        self._known: dict[str, NDArray[np.float32]] = {}
        if path is not None and path.exists():
            with np.load(path) as found:
                self._known = dict(zip(found["keys"].tolist(), found["vectors"], strict=True))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `SentenceEncoder.embed`."""
        keys = [hashlib.md5(text.encode("utf-8", "replace")).hexdigest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        names, wanted = list(missing), list(missing.values())
        for start in range(0, len(wanted), 512):
            batch = names[start : start + 512]
            self._known.update(zip(batch, self._encoder.embed(wanted[start : start + 512]), strict=True))
            print(f"\rembedded {start + len(batch)} of {len(wanted)} texts", end="", flush=True)
            self.save()
        if wanted:
            print()
        return np.stack([self._known[key] for key in keys])

    def save(self) -> None:
        """Write the file."""
        if self._path is not None:
            np.savez(self._path, keys=np.array(list(self._known)), vectors=np.stack(list(self._known.values())))


def examples(rows: Sequence[LabelledReply], seed: int) -> list[tuple[str, str, Verdict]]:
    """Return (question, reply, class) for all uses of the replies.

    Args:
        rows: Labelled replies.
        seed: Random seed of the places where replies are cut off.
    """
    twins = _twins()
    draw = random.Random(seed)
    found = []
    for row in rows:
        found.append((row.question, row.reply, row.verdict))
        if row.question:
            found.append(("", row.reply, row.verdict))
        if (other := twins.get((row.language, row.question))) is not None:
            found.append((other, row.reply, row.verdict))
        if row.verdict in CUT and row.finished:
            length = max(MIN_CHARACTERS, int(draw.uniform(*SHARES) * len(row.reply)))
            if length < len(row.reply):
                found.append((row.question, row.reply[:length], row.verdict))
    return found


def _twins() -> dict[tuple[str, str], str]:
    """Return (language, question) -> the question of the twin row."""
    rows = load_corpus().split("train").rows
    texts = {row.id: row.texts for row in rows}
    return {
        (code, text): texts[row.twin][code] for row in rows if row.twin in texts for code, text in row.texts.items()
    }


def fit(
    features: NDArray[np.float32],
    has_question: NDArray[np.bool_],
    labels: NDArray[np.int64],
    *,
    hidden: int,
    epochs: int,
    dropout: float,
    weight_decay: float,
    seed: int,
) -> dict[str, NDArray[np.float32]]:
    """Train the network.

    Args:
        features: From `reply_features`, [n, features].
        has_question: Whether the example has a question, [n].
        labels: Indices of `CLASSES`, [n].
        hidden: Width of the hidden layer.
        epochs: Passes over the examples.
        dropout: Dropout of the hidden layer; half of it is applied to the features.
        weight_decay: Weight decay of AdamW.
        seed: Random seed.

    Returns:
        The weights; see `EncoderHead`.
    """
    torch.manual_seed(seed)
    mean, scale = features[has_question].mean(0), features[has_question].std(0) + 1e-6
    scaled = (features - mean) / scale
    scaled[~has_question, OF_QUESTION] = 0.0
    x, y = torch.from_numpy(scaled), torch.from_numpy(labels)
    network = nn.Sequential(
        nn.Dropout(dropout / 2),
        nn.Linear(x.shape[1], hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, len(CLASSES)),
    )
    counts = torch.bincount(y, minlength=len(CLASSES)).float()
    # Classes are weighted between equally and by frequency, so that rare classes are not ignored.
    weight = (counts.sum() / counts.clamp(min=1)).sqrt()
    loss = nn.CrossEntropyLoss(weight / weight.mean(), label_smoothing=0.05)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=weight_decay)
    steps = epochs * -(-len(x) // 256)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(256):
            optimiser.zero_grad()
            loss(network(x[batch]), y[batch]).backward()
            optimiser.step()
            schedule.step()
    first, last = network[1], network[4]
    return {
        "mean": mean,
        "scale": scale,
        "hidden_weight": _numpy(first.weight),
        "hidden_bias": _numpy(first.bias),
        "output_weight": _numpy(last.weight),
        "output_bias": _numpy(last.bias),
    }


def _numpy(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(tensor.detach().numpy(), np.float32)


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="file for the embeddings, so that a second training is fast")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the weights")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    options = parser.parse_args()
    used = examples(labelled_replies(part="train"), options.seed)
    questions, replies, verdicts = zip(*used, strict=True)
    features = reply_features(CachedEncoder(options.cache), questions, replies)
    labels = np.array([CLASSES.index(verdict) for verdict in verdicts])
    asked = np.array([bool(question) for question in questions])
    weights = fit(features, asked, labels, hidden=256, epochs=30, dropout=0.6, weight_decay=0.3, seed=options.seed)
    # Half precision is exact enough and halves the file.
    options.output.write_bytes(save({name: value.astype(np.float16) for name, value in weights.items()}))
    print(f"{len(used)} examples of {len(set(replies))} replies; written to {options.output}")


if __name__ == "__main__":
    main()
