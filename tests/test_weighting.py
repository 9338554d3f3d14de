"""Weights of training rows by language and label."""

import pytest
import torch

from babelguard.method.weighting import (
    DECAY,
    FLOOR,
    INITIAL,
    averaged_errors,
    initial_state,
    raised_by_loss,
    weights_of,
)


@pytest.mark.parametrize("weighting", ["mean", "worst", "errors"])
def test_all_rows_have_the_same_weight_at_first(weighting):
    assert weights_of(weighting, initial_state(weighting, 3)).tolist() == [[1.0, 1.0]] * 3


def test_worst_language_gains_weight_and_the_mean_stays_one():
    language = torch.tensor([0, 0, 1])
    weights = raised_by_loss(torch.ones(3, 2), torch.tensor([2.0, 4.0, 1.0]), language, step_size=0.1)
    raw = torch.tensor([0.3, 0.1, 0.0]).exp()
    torch.testing.assert_close(weights[:, 0], raw * 3 / raw.sum())
    assert torch.equal(weights[:, 0], weights[:, 1])
    assert weights[0, 0] > weights[1, 0] > weights[2, 0]


def test_error_rates_are_averaged_by_language_and_label():
    state = initial_state("errors", 2)
    wrong = torch.tensor([True, False, True, False])
    after = averaged_errors(state, wrong, torch.tensor([0, 0, 0, 1]), torch.tensor([0.0, 0.0, 1.0, 0.0]))
    old, new = DECAY * INITIAL, 1 - DECAY
    torch.testing.assert_close(after, torch.tensor([[old + new * 0.5, old + new], [old, INITIAL]]))


def test_the_more_errors_the_higher_the_weight_and_none_is_zero():
    weights = weights_of("errors", torch.tensor([[0.0, 1.0], [0.5, 0.0]]))
    assert float(weights.mean()) == pytest.approx(1.0)
    assert weights[0, 1] > weights[1, 0] > weights[0, 0] > 0
    assert float(weights.max() / weights.min()) == pytest.approx(1 + 1 / FLOOR)
