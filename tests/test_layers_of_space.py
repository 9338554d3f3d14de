"""Which layer the safety space uses."""

import planted
import pytest
import torch

from babelguard.analysis.layers import best_layer, candidate_layers, layer_aurocs
from babelguard.corpus import load_corpus
from babelguard.models.load import load_chat_model
from babelguard.targets import LocalModel


def test_candidates_are_in_the_second_half_and_exist():
    assert candidate_layers(28) == [14, 18, 21, 24]
    assert candidate_layers(1) == [1]
    assert all(1 <= layer <= count for count in range(1, 90) for layer in candidate_layers(count))


def test_the_best_layer_has_the_highest_mean_auroc():
    nan = float("nan")
    assert best_layer({None: [0.7, 0.7], 14: [0.6, 0.9], 18: [0.5, nan]}) == 14
    assert best_layer({None: [0.7, 0.8], 14: [0.6, 0.8]}) is None
    assert best_layer({None: [nan], 14: [nan]}) is None


def test_aurocs_are_measured_at_every_candidate(tmp_path):
    model = LocalModel(load_chat_model(str(planted.save_planted(tmp_path / "planted")), device="cpu", dtype="float32"))
    rows = load_corpus(planted.write_corpus(tmp_path / "corpus.csv")).split("train")
    seen = []
    found = layer_aurocs(model, rows, planted.LANGUAGES, 0, lambda done, total: seen.append((done, total)))
    assert list(found) == [None, *candidate_layers(model.chat.model.config.num_hidden_layers)]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    # Which words are harmful is planted in the states of every language.
    assert min(found[None]) == pytest.approx(1.0)
    assert torch.tensor(list(found.values())).shape == (len(found), 3)
