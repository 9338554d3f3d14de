"""Which training rows count as errors, and which layer a run uses."""

from types import SimpleNamespace

import pytest
import torch
from calls import user_error

from babelguard.jobs.safety_space import layer_of_space
from babelguard.method.losses import Batch, Context, FirstTokens
from babelguard.method.space import SafetySpace
from babelguard.method.trainer import begins_wrongly
from babelguard.screen import Silent

# The first coordinate answers and the second refuses.
ANSWER, REFUSE = [1.0, 0.0], [0.0, 1.0]
SPACE = SafetySpace(
    torch.zeros(2), torch.eye(2), torch.tensor([1.0, -1.0]), torch.tensor(0.0), torch.zeros(2), torch.tensor(0.0), 1.0
)


@pytest.mark.parametrize("first", [FirstTokens(torch.tensor([ANSWER]), torch.tensor([REFUSE])), None])
def test_answers_to_harmful_and_refusals_of_harmless_rows_are_wrong(first):
    rows = torch.tensor([ANSWER, REFUSE, ANSWER, REFUSE])
    opposite = rows.flip(-1)
    # With first tokens, only the states after the final norm count; without them, only those of the safety space.
    states, last = (opposite, rows) if first is not None else (rows, opposite)
    batch = Batch(states, None, torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.zeros(4, dtype=torch.long), last)
    assert begins_wrongly(batch, Context(SPACE, first)).tolist() == [True, False, False, True]


def layer(wanted):
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(num_hidden_layers=3))
    prepared = SimpleNamespace(settings=SimpleNamespace(objective=SimpleNamespace(layer=wanted)))
    model = SimpleNamespace(chat=SimpleNamespace(model=SimpleNamespace(config=config)))
    return layer_of_space(prepared, model, Silent())


def test_the_layer_of_a_run():
    assert layer("last") is None
    assert [layer(1), layer(3)] == [1, 3]
    for wrong in (0, 4, -1):
        assert f"`objective.layer` is {wrong}, but this model has 3 layers" in user_error(lambda k=wrong: layer(k))
