"""The safety space: a few directions of the last hidden state, with two logistic heads on them.

PCA on the states of anchor queries under several prompts gives m directions. On these, f_r predicts whether the model
complies, and f_h whether the query is harmless (DRO, arXiv 2401.18018; MCD, arXiv 2505.11835).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from babelguard.errors import NothingToAlign, UserError, damaged
from babelguard.files.tensors import read_tensors, write_tensors

Folds = Literal["ten", "one"]


@dataclass(frozen=True)
class SafetySpace:
    """z(x) = V^T (x - mu) and the two heads.

    Attributes:
        mean: mu, [d].
        components: V^T, orthonormal rows, [m, d].
        refusal_weight, refusal_bias: f_r(x) = w_r . z(x) + b_r, positive for compliance; [m] and scalar.
        harmfulness_weight, harmfulness_bias: f_h(x) = w_h . z(x) + b_h, positive for harmless; [m] and scalar.
        explained: Share of the variance of the anchor states that the m directions explain, in [0, 1].
    """

    mean: Tensor
    components: Tensor
    refusal_weight: Tensor
    refusal_bias: Tensor
    harmfulness_weight: Tensor
    harmfulness_bias: Tensor
    explained: float

    def project(self, states: Tensor) -> Tensor:
        """Return coordinates in the safety space, [batch, d] -> [batch, m]."""
        return (states - self.mean) @ self.components.T

    def compliance_logit(self, states: Tensor) -> Tensor:
        """Return f_r, the compliance logit, [batch, d] -> [batch]."""
        return self.project(states) @ self.refusal_weight + self.refusal_bias

    def harmlessness_logit(self, states: Tensor) -> Tensor:
        """Return f_h, the harmlessness logit, [batch, d] -> [batch]."""
        return self.project(states) @ self.harmfulness_weight + self.harmfulness_bias

    def save(self, path: Path) -> None:
        """Write the space as safetensors.

        Raises:
            UserError: If the file cannot be written.
        """
        tensors = {k: v for k, v in vars(self).items() if isinstance(v, Tensor)}
        write_tensors(path, tensors, {"explained": str(self.explained)})

    @classmethod
    def load(cls, path: Path) -> SafetySpace:
        """Read a space written by `save`.

        Raises:
            UserError: If the file does not exist, is damaged, or has no checksum.
        """
        tensors, texts, checked = read_tensors(path)
        try:
            if not checked:
                raise ValueError("it has no checksum")
            return cls(**tensors, explained=float(texts["explained"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(damaged(path, str(error))) from error

    def to(self, device: torch.device) -> SafetySpace:
        """Return the same space on another device."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def fit_space(
    states: Tensor,
    compliance: Tensor,
    harmless: Tensor,
    *,
    dimensions: int = 4,
    harmfulness_folds: Folds = "ten",
    seed: int = 0,
) -> SafetySpace:
    """Fit PCA and the two heads on anchors.

    Args:
        states: x of every (query, prompt) pair, [pairs, d].
        compliance: Compliance rate of the pair in [0, 1], or nan if the reply could not be judged, [pairs].
        harmless: 1 if the query is harmless, 0 if it is harmful, [pairs].
        dimensions: m.
        harmfulness_folds: `ten` averages the harmfulness head over ten folds; `one` uses one fold, like the released code.
        seed: Random seed of PCA and of the folds.

    Raises:
        NothingToAlign: If the model refuses (nearly) nothing or (nearly) everything.
    """
    from sklearn.decomposition import PCA

    x = states.double().numpy()
    scored = ~torch.isnan(compliance)
    refused = int((compliance[scored] < 0.5).sum())
    total = int(scored.sum())
    least = max(3, round(0.01 * total))
    if total == 0 or refused < least or total - refused < least:
        seen = f"{refused} of {total} anchor replies are refusals" if total else "no anchor reply could be judged"
        raise NothingToAlign(
            f"There is nothing to align: {seen}, and at least {least} refusals and {least} answers are needed to find the "
            "refusal direction of a model; choose a model that refuses some requests and answers others."
        )
    pca = PCA(n_components=min(dimensions, *x.shape), svd_solver="full", random_state=seed).fit(x)
    z = pca.transform(x)
    keep = scored.numpy()
    refusal = fit_head(z[keep], compliance.numpy()[keep], folds="ten", seed=seed)
    harmfulness = fit_head(z, harmless.double().numpy(), folds=harmfulness_folds, seed=seed)
    return SafetySpace(
        mean=_float32(pca.mean_),
        components=_float32(pca.components_),
        refusal_weight=_float32(refusal[0]),
        refusal_bias=_float32(refusal[1]),
        harmfulness_weight=_float32(harmfulness[0]),
        harmfulness_bias=_float32(harmfulness[1]),
        explained=float(pca.explained_variance_ratio_.sum()),
    )


def _float32(values: object) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)


def fit_head(z: np.ndarray, target: np.ndarray, *, folds: Folds, seed: int) -> tuple[np.ndarray, float]:
    """Fit a logistic head on safety-space coordinates with soft targets, averaged over the training parts of ten folds.

    Args:
        z: Coordinates, [pairs, m].
        target: Soft targets in [0, 1], [pairs].
        folds: `ten` for the average, `one` for the training part of the last fold only.
        seed: Random seed of the folds.

    Returns:
        Weight [m] and bias, for the coordinates as given.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    centre, scale = z.mean(0), z.std(0) + 1e-12
    unit = (z - centre) / scale
    weights, biases = [], []
    parts = list(KFold(n_splits=min(10, len(z)), shuffle=True, random_state=seed).split(unit))
    for train, _ in parts if folds == "ten" else parts[-1:]:
        # A soft target is represented by two weighted rows, one of each class.
        rows = np.concatenate([unit[train], unit[train]])
        labels = np.concatenate([np.ones(len(train)), np.zeros(len(train))])
        weight = np.concatenate([target[train], 1 - target[train]])
        head = LogisticRegression(C=1.0, max_iter=1000).fit(rows, labels, sample_weight=weight)
        weights.append(head.coef_[0] / scale)
        biases.append(float(head.intercept_[0] - (head.coef_[0] / scale) @ centre))
    return np.mean(weights, axis=0), float(np.mean(biases))
