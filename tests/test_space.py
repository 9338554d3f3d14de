from __future__ import annotations

import errno

import numpy as np
import pytest
import torch

from babelguard.errors import NothingToAlign, UserError
from babelguard.method.space import SafetySpace, fit_head, fit_space

D = 24


def planted(pairs=400, seed=0, noise=0.3):
    """States that move along two orthogonal directions: one for compliance, one for harmlessness."""
    rng = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(D, 2, generator=rng))[0].T
    harmless = (torch.rand(pairs, generator=rng) < 0.5).float()
    # Compliance agrees with harmlessness most of the time, but not always: two directions, not one.
    complies = torch.where(torch.rand(pairs, generator=rng) < 0.25, 1 - harmless, harmless)
    states = 5 + 6 * complies[:, None] * basis[0] + 4 * harmless[:, None] * basis[1]
    return states + noise * torch.randn(pairs, D, generator=rng), complies, harmless, basis


def cosine(a, b):
    return float(a @ b / a.norm() / b.norm())


def test_heads_recover_the_planted_directions():
    states, complies, harmless, basis = planted()
    space = fit_space(states, complies, harmless)
    assert cosine(space.refusal_weight @ space.components, basis[0]) > 0.95
    assert cosine(space.harmfulness_weight @ space.components, basis[1]) > 0.95
    assert ((space.compliance_logit(states) > 0).float() == complies).float().mean() > 0.99
    assert ((space.harmlessness_logit(states) > 0).float() == harmless).float().mean() > 0.99
    assert space.explained > 0.8


def test_projection_equals_principal_components():
    states, complies, harmless, _ = planted()
    space = fit_space(states, complies, harmless, dimensions=3)
    torch.testing.assert_close(space.components @ space.components.T, torch.eye(3), rtol=1e-5, atol=1e-5)
    centred = (states - states.mean(0)).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    largest = vectors[:, -3:].T.float()
    torch.testing.assert_close(space.components.T @ space.components, largest.T @ largest, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        space.project(states), (states - states.mean(0)) @ space.components.T, rtol=1e-3, atol=1e-3
    )
    assert space.explained == pytest.approx(float(values[-3:].sum() / values.sum()), rel=1e-5)


def test_soft_targets_are_met():
    """If the rate is a logistic function of one coordinate, the head is that function."""
    z = np.linspace(-4, 4, 4000)[:, None]
    rate = 1 / (1 + np.exp(-(1.5 * z[:, 0] - 0.7)))
    weight, bias = fit_head(z, rate, folds="ten", seed=0)
    assert weight[0] == pytest.approx(1.5, rel=0.02)
    assert bias == pytest.approx(-0.7, rel=0.02)


def test_one_fold_and_ten_folds_differ_and_the_seed_decides():
    states, complies, harmless, _ = planted(noise=1.5)
    ten = fit_space(states, complies, harmless)
    one = fit_space(states, complies, harmless, harmfulness_folds="one")
    assert torch.equal(ten.refusal_weight, one.refusal_weight)
    assert not torch.equal(ten.harmfulness_weight, one.harmfulness_weight)
    assert torch.equal(fit_space(states, complies, harmless).harmfulness_weight, ten.harmfulness_weight)
    assert not torch.equal(fit_space(states, complies, harmless, seed=1).refusal_weight, ten.refusal_weight)


def test_replies_without_a_verdict_do_not_affect_the_refusal_head():
    states, complies, harmless, _ = planted()
    unscored = complies.clone()
    unscored[::4] = float("nan")
    space = fit_space(states, unscored, harmless)
    scored = ~unscored.isnan()
    z = space.project(states[scored]).double().numpy()
    weight, bias = fit_head(z, complies[scored].numpy(), folds="ten", seed=0)
    np.testing.assert_allclose(space.refusal_weight, weight, rtol=1e-3)
    assert float(space.refusal_bias) == pytest.approx(bias, rel=1e-3)
    # The harmfulness head needs no verdict, so it learns from all rows.
    assert torch.equal(space.harmfulness_weight, fit_space(states, complies, harmless).harmfulness_weight)


@pytest.mark.parametrize("refused", [0, 2, 98, 100])
def test_a_model_that_refuses_nothing_or_everything_is_rejected(refused):
    states, _, harmless, _ = planted(100)
    compliance = torch.ones(100)
    compliance[:refused] = 0
    with pytest.raises(
        NothingToAlign, match=f": {refused} of 100 anchor replies are refusals, and at least 3 refusals"
    ):
        fit_space(states, compliance, harmless)
    compliance[:] = 1
    compliance[:3] = 0
    fit_space(states, compliance, harmless)  # three of each are enough


def test_without_a_judged_reply_there_is_nothing_to_align():
    states, _, harmless, _ = planted(20)
    with pytest.raises(NothingToAlign, match="no anchor reply could be judged"):
        fit_space(states, torch.full((20,), float("nan")), harmless)


def test_space_round_trip(tmp_path):
    states, complies, harmless, _ = planted()
    space = fit_space(states, complies, harmless)
    space.save(tmp_path / "space.safetensors")
    again = SafetySpace.load(tmp_path / "space.safetensors")
    assert again.explained == space.explained
    for name, value in vars(space).items():
        assert name == "explained" or torch.equal(vars(again)[name], value)
    assert vars(again.to(torch.device("meta")))["mean"].device.type == "meta"


def test_a_full_disk_raises_one_sentence(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("babelguard.files.writing.os.fsync", full)
    states, complies, harmless, _ = planted(50)
    with pytest.raises(UserError, match=r"No space left on device.*free some space"):
        fit_space(states, complies, harmless).save(tmp_path / "space.safetensors")
