"""How well a linear head on the hidden states tells harmful from harmless test rows, per language, without a prompt.

    python experiments/heads.py --limit 50      # 50 + 50 test rows per language

The layer is the one with the highest mean AUROC on training rows of the trained languages. On the test rows, a head is fitted on
each language with five-fold cross-validation; twins (a harmful row and its similarly worded harmless row) are always held out
together. The balanced error is the mean of the error rates on harmful and on harmless rows. It is a reference for the errors in
docs/results.md, not a bound, because a prompt changes the states. The intervals are 95 % percentile intervals of a bootstrap over
pairs of twins; the heads are not fitted again.

The numbers are written to experiments/heads.json, which the tables of experiments/results.py use.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch
from planned import run
from pydantic import BaseModel
from torch import Tensor

from babelguard.analysis.layers import best_layer, layer_aurocs
from babelguard.analysis.separability import auroc, language_scores
from babelguard.corpus import load_corpus
from babelguard.defences import NoDefence
from babelguard.files import write_json
from babelguard.models.load import load_chat_model
from babelguard.screen import Screen
from babelguard.targets import LocalModel

TRAINED = ("en", "zh", "ar", "ko", "th")
LANGUAGES = (*TRAINED, "es", "da", "vi", "hi", "sw", "el", "ga")
FILE = Path(__file__).parent / "heads.json"
RESAMPLES = 2000


class Head(BaseModel):
    """The head of a language.

    Attributes:
        auroc: AUROC on held-out rows.
        error: Balanced error on held-out rows, in [0, 1].
        low: Lower end of the 95 % interval of the error.
        high: Upper end.
    """

    auroc: float
    error: float
    low: float
    high: float


class Heads(BaseModel):
    """The content of heads.json: the model, the layer (None: after the final norm), the rows per label, and the heads."""

    model: str
    dtype: str
    layer: int | None
    rows: int
    heads: dict[str, Head]


def read_heads(model: str, file: Path = FILE) -> dict[str, Head]:
    """Read the heads of a model by language. Empty if they were not measured."""
    found = Heads.model_validate_json(file.read_text(encoding="utf-8")) if file.exists() else None
    return found.heads if found is not None and found.model == model else {}


def balanced_error(wrong: Tensor, harmless: Tensor, rows: Sequence[int]) -> float:
    """Return the mean of the error rates on harmful and on harmless rows; rows may be repeated."""
    index = torch.tensor(rows)
    return fmean(float(wrong[index][harmless[index] == label].mean()) for label in (0, 1))


def head_of(scores: Tensor, harmless: Tensor, groups: Sequence[Sequence[int]], seed: int = 0) -> Head:
    """Summarise the held-out scores of one language."""
    wrong = ((scores > 0) != (harmless > 0.5)).double()
    rng = random.Random(seed)
    errors = sorted(
        balanced_error(wrong, harmless, [row for group in rng.choices(groups, k=len(groups)) for row in group])
        for _ in range(RESAMPLES)
    )
    low, high = errors[round(0.025 * RESAMPLES)], errors[round(0.975 * RESAMPLES) - 1]
    rows = range(len(wrong))
    return Head(auroc=auroc(scores, harmless), error=balanced_error(wrong, harmless, rows), low=low, high=high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--limit", type=int, default=None, help="test rows per label and language; default: all")
    parser.add_argument("--train-rows", type=int, default=48, help="training rows per label for choosing the layer")
    args = parser.parse_args()
    screen, corpus = Screen(), load_corpus()
    model = LocalModel(load_chat_model(args.model, dtype=args.dtype))
    with screen.progress("layers, training rows") as (tick, _):
        aurocs = layer_aurocs(model, corpus.split("train").select(TRAINED, args.train_rows), TRAINED, 0, tick)
    for layer, values in aurocs.items():
        screen.say(f"  layer {layer or 'last'}: " + ", ".join(f"{value:.2f}" for value in values))
    layer = best_layer(aurocs)
    rows = corpus.split("test").select(LANGUAGES, args.limit)
    found = []
    with screen.progress("states, test rows") as (tick, _):
        for number, code in enumerate(LANGUAGES):
            both = model.states_at_layers(NoDefence(), rows.texts(code), () if layer is None else (layer,))
            found.append(both[-1])
            tick(number + 1, len(LANGUAGES))
    harmless = torch.tensor(rows.labels, dtype=torch.float32)
    scores = language_scores(torch.stack(found), harmless, rows.groups)
    assert scores is not None, "too few rows for cross-validation"
    heads = {code: head_of(one, harmless, rows.groups) for code, one in zip(LANGUAGES, scores, strict=True)}
    result = Heads(model=args.model, dtype=args.dtype, layer=layer, rows=int((harmless == 0).sum()), heads=heads)
    write_json(FILE, result.model_dump(mode="json"))
    for code, head in heads.items():
        screen.say(
            f"  {code}  AUROC {head.auroc:.2f}  error {100 * head.error:.1f} % [{100 * head.low:.1f}, {100 * head.high:.1f}]"
        )


if __name__ == "__main__":
    run(main)
