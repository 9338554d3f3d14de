"""The arguments that a run passes to training. The planted model is used, because its correct values are known."""

from __future__ import annotations

import planted
import pytest
import torch

from babelguard.config import Settings
from babelguard.jobs.defend import Defend
from babelguard.method.checkpoint import Progress
from babelguard.models.probes import embedding_rms
from babelguard.screen import Silent

ROWS = 2 * planted.PAIRS["train"]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The arguments of training and of the fit of the safety space in a run, and what validation measured."""
    root = tmp_path_factory.mktemp("learn")
    settings = Settings(
        model=str(planted.save_planted(root / "planted-chat")),
        device="cpu",
        dtype="float32",
        data={"languages": planted.LANGUAGES, "corpus": planted.write_corpus(root / "corpus.csv")},
        training={"steps": 1, "prompt_length": 6, "learning_rate": 0.3},
        objective={"anchor_tokens": 4, "harmless_weight": 2.5, "weights": {"refusal": 1.0, "residual": 1e-3}},
        selection={"rows": 4, "judge": "patterns"},
        evaluation={
            "languages": planted.LANGUAGES,
            "reply_tokens": 4,
            "written": "short",
            "judge": "patterns",
            "other_judges": (),
        },
    )
    seen = {}

    def fake_train(passes, theta, data, context, **named):
        better = theta.clone()
        better[:, planted.INSIGHT] += 3.0
        seen["scores"] = [named["validate"](theta, 0), named["validate"](better, 1)]
        seen.update(named, model=passes.model, ids=passes.token_ids, start=theta, data=data)
        seen.update(context=context, better=better)
        return better, Progress(step=1, best_step=1)

    from babelguard.jobs import learn, safety_space

    def spy_fit(states, compliance, harmless, **named):
        seen.update(anchor_states=states, compliance=compliance, harmless=harmless)
        return fit_space(states, compliance, harmless, **named)

    fit_space = safety_space.fit_space
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn, "train", fake_train)
        patch.setattr(safety_space, "fit_space", spy_fit)
        job = Defend(settings, root / "run", Silent())
        prompt = job.run()
    return seen | {"prompt": prompt, "job": job}


def test_the_step_size_is_relative_to_the_embeddings(given):
    scale = embedding_rms(given["model"])
    assert abs(scale - 1) > 0.2  # or the test would not notice a missing factor
    assert given["step_size"] == pytest.approx(0.3 * scale)


def test_validation_measures_the_prompt_it_is_given(given):
    before, after = given["scores"]
    assert before > 0.1
    assert after == 0
    assert torch.equal(given["prompt"].theta, given["better"])


def test_training_labels_are_those_of_the_rows(given):
    data = given["data"]
    assert data.labels.tolist() == [0.0, 1.0] * (ROWS // 2)
    assert data.start_states.shape == (1, 3, ROWS, planted.WIDTH)
    seen = data.start_states[0][:, :, [planted.SEEN_HARMFUL, planted.SEEN_HARMLESS]].argmax(-1).float()
    assert torch.equal(seen, data.labels.expand(3, -1))
    assert data.english == 0


def test_anchors_have_the_labels_of_their_questions(given):
    harmless, states = given["harmless"], given["anchor_states"]
    assert len(harmless) == len(states) == 4 * 3 * ROWS
    assert torch.equal(harmless, torch.tensor([0.0, 1.0]).repeat(4 * 3 * ROWS // 2))
    seen = states[:, [planted.SEEN_HARMFUL, planted.SEEN_HARMLESS]].argmax(-1).float()
    assert torch.equal(seen, harmless)


def test_anchors_are_compliant_where_the_model_answered(given):
    compliance, states = given["compliance"], given["anchor_states"]
    assert set(compliance.tolist()) == {0.0, 1.0}
    assert torch.equal(compliance, (states[:, planted.REFUSE] < 0).float())


def test_the_heads_of_the_safety_space_point_the_right_way(given):
    space, states, labels = given["context"].space, given["data"].start_states[0], given["data"].labels
    compliance, harmlessness = space.compliance_logit(states), space.harmlessness_logit(states)
    complies = states[:, :, planted.REFUSE] < 0
    assert compliance[complies].mean() > compliance[~complies].mean() + 1
    assert (harmlessness[:, labels == 1] > 0).all() and (harmlessness[:, labels == 0] < 0).all()


def test_first_tokens_are_those_of_refusals_and_answers(given):
    first, head = given["context"].first_tokens, given["model"].get_output_embeddings().weight
    tokenizer = given["job"].chat.tokenizer

    def holds(rows, texts):
        wanted = head[tokenizer.convert_tokens_to_ids(list(texts))]
        return (torch.cdist(wanted, rows).min(-1).values < 1e-4).tolist()

    assert holds(first.refusing, planted.REFUSALS.values()) == [True] * 3
    assert holds(first.answering, planted.ANSWERS.values()) == [True] * 3
    assert holds(first.refusing, planted.ANSWERS.values()) == [False] * 3
    assert holds(first.answering, planted.REFUSALS.values()) == [False] * 3


def test_training_is_given_the_settings(given):
    settings = given["job"].settings
    assert given["weights"]["behaviour"] == 4.0 and given["weights"]["refusal"] == 1.0
    assert given["training"] == settings.training
    assert given["context"].harmless_weight == 2.5
    assert given["validate_every"] == 80
    assert given["base_logits"] == "own" and given["weighting"] == "mean"
    assert given["ids"] == given["job"].slot.token_ids
