"""The losses and the objective against naive formulas."""

from __future__ import annotations

import pytest
import torch

from babelguard.errors import UserError
from babelguard.method.losses import Batch, Context, FirstTokens, StartStates, behaviour
from babelguard.method.losses.alignment import alignment_loss
from babelguard.method.losses.behaviour import behaviour_loss, right_margin
from babelguard.method.losses.frozen_alignment import frozen_alignment_loss
from babelguard.method.losses.harmfulness import harmfulness_loss
from babelguard.method.losses.keep import keep_loss
from babelguard.method.losses.opening import opening_loss
from babelguard.method.losses.refusal import refusal_loss
from babelguard.method.losses.residual import residual_loss
from babelguard.method.objective import (
    check_weights,
    needs_first_tokens,
    needs_other_languages,
    resolve_weights,
    row_losses,
    total_loss,
)
from babelguard.method.space import SafetySpace

D, M, ROWS = 12, 4, 6


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def space():
    components = torch.linalg.qr(draw(D, M, seed=9))[0].T
    return SafetySpace(
        draw(D, seed=1), components, draw(M, seed=2), draw(1, seed=3)[0], draw(M, seed=4), draw(1, seed=5)[0], 1.0
    )


@pytest.fixture
def batch():
    return Batch(
        states=draw(ROWS, D, seed=10).requires_grad_(),
        other_states=draw(2, ROWS, D, seed=11).requires_grad_(),
        labels=torch.tensor([0, 1, 0, 1, 1, 0], dtype=torch.float64),
        language=torch.tensor([0, 1, 2, 0, 1, 2]),
        last_states=draw(ROWS, D, seed=15).requires_grad_(),
        start=StartStates(*(draw(ROWS, D, seed=seed) for seed in (12, 16, 13, 14))),
        plain_states=draw(ROWS, D, seed=17),
    )


def cross_entropy(difference, label):
    probability = 1 / (1 + torch.exp(-difference))
    return -(label * torch.log(probability) + (1 - label) * torch.log(1 - probability))


@pytest.mark.parametrize("loss", [refusal_loss, harmfulness_loss])
def test_binary_losses_equal_the_formula_and_point_the_right_way(loss):
    new, base = draw(8, seed=1), draw(8, seed=2)
    label = torch.tensor([0, 1] * 4)
    torch.testing.assert_close(loss(new, base, label), cross_entropy(new - base, label))
    # A harmful query (0) must lose compliance, a harmless one (1) gain it.
    step = torch.tensor([0.1, 0.1])
    lower = loss(-step, torch.zeros(2), torch.tensor([0, 1]))
    higher = loss(step, torch.zeros(2), torch.tensor([0, 1]))
    assert lower[0] < higher[0]
    assert lower[1] > higher[1]


def test_residual_loss_equals_the_explicit_projection():
    change = draw(5, D, seed=3)
    v = torch.linalg.qr(draw(D, M, seed=4))[0]
    complement = torch.eye(D, dtype=torch.float64) - v @ v.T
    expected = torch.stack([(complement @ row).pow(2).sum() / D for row in change])
    torch.testing.assert_close(residual_loss(change, v.T), expected)
    assert residual_loss((v @ draw(M, 5, seed=5)).T, v.T).abs().max() < 1e-12  # movement inside the space has no cost


@pytest.mark.parametrize("count", [2, 3, 5])
def test_alignment_equals_explicit_loops_and_ignores_the_order(count):
    states = draw(count, 4, D, seed=6)
    expected = torch.zeros(4, dtype=torch.float64)
    for row in range(4):
        for i in range(count):
            others = [states[j, row] for j in range(count) if j != i]
            expected[row] += (states[i, row] - sum(others) / len(others)).pow(2).sum() / D / count
    torch.testing.assert_close(alignment_loss(states), expected)
    shuffled = states[torch.randperm(count, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(alignment_loss(shuffled), expected)
    # The closed form in the docstring of `alignment_loss`.
    spread = (states - states.mean(0)).pow(2).mean(-1).mean(0)
    torch.testing.assert_close((count / (count - 1)) ** 2 * spread, expected)


def test_alignment_reaches_every_language_and_needs_two():
    states = draw(3, 2, D, seed=7).requires_grad_()
    alignment_loss(states).sum().backward()
    assert (states.grad.abs().sum(-1) > 0).all()
    assert float(alignment_loss(draw(1, 2, D).expand(3, -1, -1)).abs().max()) < 1e-20
    with pytest.raises(ValueError, match="two languages"):
        alignment_loss(states[:1])


def test_frozen_alignment_is_the_mean_squared_difference():
    a, b = draw(3, D, seed=1), draw(3, D, seed=2)
    expected = torch.tensor([sum((a[r, k] - b[r, k]) ** 2 for k in range(D)) / D for r in range(3)])
    torch.testing.assert_close(frozen_alignment_loss(a, b), expected)


def test_behaviour_loss_compares_the_most_likely_first_tokens():
    states, answering, refusing = draw(3, D, seed=1), draw(4, D, seed=2), draw(2, D, seed=3)
    sharp = behaviour.TEMPERATURE
    soft_maximum = lambda rows: sharp * torch.log(torch.exp(rows @ states.T / sharp).sum(0))  # noqa: E731
    answers = soft_maximum(answering) - soft_maximum(refusing)
    label, language = torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1])
    margin = right_margin(states, FirstTokens(answering, refusing), label, language)
    torch.testing.assert_close(margin, torch.where(label > 0, answers, -answers))
    torch.testing.assert_close(behaviour_loss(margin), cross_entropy(answers, label))
    # Tokens of another language are wrong: each row has one right token, and all others are rivals.
    answers_in, refuses_in = torch.eye(4)[[0, 2]].bool(), torch.eye(2).bool()
    margin = right_margin(states, FirstTokens(answering, refusing, answers_in, refuses_in), label, language)
    together = torch.cat([answering, refusing])
    for row, right in enumerate((4, 2, 5)):
        rivals = torch.cat([together[:right], together[right + 1 :]])
        torch.testing.assert_close(margin[row], (together[right] @ states[row] - soft_maximum(rivals)[row]))
    # A neutral token is no rival of the answers to a harmless query, but one of the refusals.
    neutral = FirstTokens(answering, refusing, answers_in, refuses_in, torch.eye(4)[[1, 1]].bool())
    found = right_margin(states, neutral, label, language)
    torch.testing.assert_close(found[[0, 2]], margin[[0, 2]])
    rivals = torch.cat([answering[[0, 3]], refusing])
    torch.testing.assert_close(found[1], answering[2] @ states[1] - soft_maximum(rivals)[1])


def test_many_unlikely_answers_do_not_outweigh_the_most_likely_refusal():
    # Greedy decoding begins with the refusal, although all answers together are more likely.
    state = torch.eye(1, D)
    answering, refusing = torch.zeros(20, D), torch.zeros(1, D)
    refusing[0, 0] = 1.5
    assert torch.logsumexp(answering @ state[0], 0) > torch.logsumexp(refusing @ state[0], 0)
    first = FirstTokens(answering, refusing)
    assert right_margin(state, first, torch.ones(1), torch.zeros(1, dtype=torch.long)).item() < 0


def test_opening_loss_is_the_divergence_among_answers_only():
    states, base, answering = draw(3, D, seed=1), draw(3, D, seed=2), draw(4, D, seed=3)
    before, after = torch.softmax(base @ answering.T, -1), torch.softmax(states @ answering.T, -1)
    expected = (before * torch.log(before / after)).sum(-1)
    torch.testing.assert_close(opening_loss(states, base, answering), expected)
    assert (expected > 0).all()
    torch.testing.assert_close(opening_loss(base, base, answering), torch.zeros(3, dtype=base.dtype))
    # A change that raises or lowers all answers equally, as a refusal does, has no cost.
    extra = torch.linalg.lstsq(answering, torch.ones(4, 1, dtype=base.dtype)).solution.T
    torch.testing.assert_close(opening_loss(base + 5 * extra, base, answering), torch.zeros(3, dtype=base.dtype))


def test_keep_loss_is_the_divergence_from_an_answer_without_a_prompt():
    states, plain = draw(3, D, seed=1), draw(3, D, seed=2)
    answering, refusing = draw(4, D, seed=3), draw(2, D, seed=4)
    before = torch.softmax(plain @ answering.T, -1)
    after = torch.softmax(states @ torch.cat([answering, refusing]).T, -1)
    expected = (before * torch.log(before / after[:, :4])).sum(-1)
    torch.testing.assert_close(keep_loss(states, plain, answering, refusing), expected)
    # Unlike the opening loss, it is not 0 while a refusal is possible, and it falls with the probability of a refusal.
    assert (keep_loss(plain, plain, answering, refusing) > 0).all()
    torch.testing.assert_close(
        keep_loss(plain[:1], plain[:1], answering, -50 * plain[:1]), torch.zeros(1, dtype=plain.dtype)
    )


def test_objective_is_the_weighted_sum_of_the_method(space, batch):
    weights = {
        "refusal": 2.0,
        "harmfulness": 0.5,
        "residual": 0.1,
        "alignment": 0.2,
        "frozen_alignment": 0.3,
        "behaviour": 3.0,
        "opening": 0.7,
        "keep": 0.9,
    }
    first = FirstTokens(draw(4, D, seed=20), draw(2, D, seed=21))
    z = lambda x: (x - space.mean) @ space.components.T  # noqa: E731
    f_r = lambda x: z(x) @ space.refusal_weight + space.refusal_bias  # noqa: E731
    f_h = lambda x: z(x) @ space.harmfulness_weight + space.harmfulness_bias  # noqa: E731
    x, label = batch.states, batch.labels
    margin = right_margin(batch.last_states, first, label, batch.language)
    expected = {
        "refusal": 2.0 * cross_entropy(f_r(x) - f_r(batch.start.reference), label),
        "harmfulness": 0.5 * cross_entropy(f_h(x) - f_h(batch.start.reference), label),
        "residual": 0.1 * residual_loss(x - batch.start.states, space.components),
        "alignment": 0.2 * alignment_loss(torch.stack([x, *batch.other_states])),
        "frozen_alignment": 0.3 * frozen_alignment_loss(x, batch.start.frozen_target),
        "behaviour": 3.0 * (1 + 0.5 * label) * behaviour_loss(margin),
        # Only for harmless queries: answers to harmful queries need not begin as before.
        "opening": 0.7 * label * opening_loss(batch.last_states, batch.start.last_states, first.answering),
        "keep": 0.9 * label * keep_loss(batch.last_states, batch.plain_states, first.answering, first.refusing),
    }
    terms = row_losses(batch, Context(space, first, harmless_weight=1.5), weights)
    assert terms.keys() == expected.keys()
    for name, value in terms.items():
        torch.testing.assert_close(value, expected[name])
    total = total_loss(terms, batch.language, batch.labels, torch.ones(3, 2, dtype=torch.float64))
    torch.testing.assert_close(total, sum(expected.values()).mean())


def test_each_weight_changes_only_its_own_term(space, batch):
    context = Context(space, None)
    # Without first tokens, the losses that need them are left out.
    live = row_losses(batch, context, resolve_weights({"behaviour": 1.0, "opening": 1.0}))
    assert live.keys() == {"refusal", "harmfulness", "residual", "alignment"}
    frozen = row_losses(batch, context, resolve_weights({"alignment": 0.0, "frozen_alignment": 1e-3}))
    assert frozen.keys() == {"refusal", "harmfulness", "residual", "frozen_alignment"}
    torch.testing.assert_close(
        frozen["frozen_alignment"], 1e-3 * frozen_alignment_loss(batch.states, batch.start.frozen_target)
    )
    for name in ("refusal", "harmfulness", "residual"):
        torch.testing.assert_close(frozen[name], live[name])
    none = row_losses(batch, context, resolve_weights({"alignment": 0.0}))
    assert none.keys() == live.keys() - {"alignment"}
    off = resolve_weights({"refusal": 0.0, "residual": 0.0, "alignment": 0.0})
    assert row_losses(batch, context, off).keys() == {"harmfulness"}


def test_only_alignment_reaches_the_other_languages(space, batch):
    def backward(**weights):
        terms = row_losses(batch, Context(space, None), resolve_weights(weights))
        total_loss(terms, batch.language, batch.labels, torch.ones(3, 2).double()).backward()

    backward(alignment=0.0, frozen_alignment=1e-3)
    assert batch.other_states.grad is None
    backward()
    assert (batch.other_states.grad.abs().sum(-1) > 0).all()


def test_without_other_languages_their_loss_is_left_out(space, batch):
    alone = Batch(**(vars(batch) | {"other_states": None}))
    assert "alignment" not in row_losses(alone, Context(space, None), resolve_weights({}))


def test_weights_that_are_not_given_have_their_default():
    assert resolve_weights({"behaviour": 2.0}) == {
        "refusal": 1.0,
        "harmfulness": 1.0,
        "residual": 1e-3,
        "alignment": 1e-3,
        "frozen_alignment": 0.0,
        "behaviour": 2.0,
        "opening": 0.0,
        "keep": 0.0,
    }
    with pytest.raises(
        UserError, match=r"There is no loss 'refusals' \(`objective.weights`\); available: refusal, harm"
    ):
        resolve_weights({"refusals": 1.0})


def test_weights_that_would_teach_nothing_are_rejected():
    off = {"refusal": 0.0, "harmfulness": 0.0, "opening": 1.0, "frozen_alignment": 1.0}
    with pytest.raises(UserError, match="nothing would be learned"):
        check_weights(resolve_weights(off), 3)
    for name in ("refusal", "harmfulness", "behaviour"):
        check_weights(resolve_weights(off | {name: 1.0}), 3)
    with pytest.raises(UserError, match="'alignment' needs at least two training languages"):
        check_weights(resolve_weights({}), 1)
    check_weights(resolve_weights({"alignment": 0.0, "frozen_alignment": 1.0}), 1)


def test_what_the_active_losses_need():
    assert needs_other_languages(resolve_weights({}))
    assert not needs_other_languages(resolve_weights({"alignment": 0.0, "frozen_alignment": 1.0}))
    assert not needs_first_tokens(resolve_weights({}))
    assert needs_first_tokens(resolve_weights({"behaviour": 1.0}))
    assert needs_first_tokens(resolve_weights({"opening": 1.0}))


def test_rows_are_weighted_by_language_and_label():
    terms = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor([1.0, 0.0, 0.0])}
    weights = torch.tensor([[0.5, 7.0], [1.5, 2.0]])
    total = total_loss(terms, torch.tensor([0, 1, 1]), torch.tensor([0.0, 0.0, 1.0]), weights)
    assert float(total) == pytest.approx((1 + 3 + 6) / 3)
