"""The constants of training: which rows are run under the start prompt and without a prompt."""

import planted
import pytest
import torch

from babelguard.corpus import load_corpus
from babelguard.defences import NoDefence, SoftDefence
from babelguard.method.data import training_data
from babelguard.models.load import load_chat_model
from babelguard.models.probes import embed
from babelguard.prompt.slot import install
from babelguard.targets import LocalModel


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    model = LocalModel(load_chat_model(str(planted.save_planted(root / "planted")), device="cpu", dtype="float32"))
    chat = model.chat
    carrier, slot = install(chat.tokenizer, 3, chat.model.get_input_embeddings().weight.shape[0])
    soft = SoftDefence("mcd", embed(chat.model, [9, 10, 11]), slot, carrier)
    return model, soft, load_corpus(planted.write_corpus(root / "corpus.csv")).split("train")


def test_states_without_a_prompt_belong_to_their_rows(made):
    model, soft, rows = made
    harmless = [k for k, row in enumerate(rows.rows) if not row.harmful]
    pairs = {(2, harmless[1]), (0, harmless[0]), (0, harmless[3]), (1, next(k for k in range(9) if k not in harmless))}
    data = training_data(model, soft, rows, planted.LANGUAGES, start=False, plain=pairs)
    assert data.start_states is None
    assert data.plain_states.shape == (3, len(rows.rows), planted.WIDTH)
    for number, code in enumerate(planted.LANGUAGES):
        expected = model.states(NoDefence(), rows.texts(code))
        for row in range(len(rows.rows)):
            if (number, row) in pairs and row in harmless:
                torch.testing.assert_close(data.plain_states[number, row], expected[row])
            else:
                assert not data.plain_states[number, row].any()


@pytest.mark.parametrize("layer", [None, 1])
def test_states_under_the_start_prompt_belong_to_their_rows(made, layer):
    model, soft, rows = made
    data = training_data(model, soft, rows, planted.LANGUAGES, layer=layer)
    assert data.plain_states is None
    layers = () if layer is None else (layer,)
    for number, code in enumerate(planted.LANGUAGES):
        expected = model.states_at_layers(soft, rows.texts(code), layers)
        torch.testing.assert_close(data.start_states[:, number], expected, rtol=1e-4, atol=1e-4)
