"""Presets: their values, and how they combine with what the user gives."""

from __future__ import annotations

import copy

import pytest
from typer.testing import CliRunner

from babelguard.cli.app import app
from babelguard.config import Settings, load_settings
from babelguard.config.load import OPTIONS, RENAMED
from babelguard.config.presets import PRESETS
from babelguard.config.sections import Training
from babelguard.errors import UserError
from babelguard.jobs.fit import fit
from babelguard.method.objective import resolve_weights

# A change of any of these numbers changes published results. They are written out so that it does not happen unnoticed.
DEFAULTS = {
    "model": "m",
    "revision": None,
    "preset": None,
    "seed": 0,
    "device": "auto",
    "dtype": "auto",
    "sharding": "none",
    "trust_remote_code": False,
    "data": {
        "languages": ["en", "da", "ko", "el", "ga"],
        "corpus": None,
        "columns": [],
        "label_column": None,
        "harmful": [],
    },
    "objective": {
        "weights": {
            "refusal": 1.0,
            "harmfulness": 1.0,
            "residual": 0.001,
            "alignment": 0.001,
            "frozen_alignment": 0.0,
            "behaviour": 0.0,
            "opening": 0.0,
            "keep": 0.0,
        },
        "base_logits": "own",
        "harmless_weight": 1.0,
        "alignment_languages": 1,
        "weighting": "mean",
        "layer": "last",
        "dimensions": 4,
        "harmfulness_folds": "ten",
        "anchors": "training",
        "anchor_rows": 16,
        "anchor_tokens": 12,
    },
    "training": {
        "start": None,
        "prompt_length": None,
        "steps": 120,
        "batch_size": 16,
        "learning_rate": 0.06,
        "beta2": 0.999,
        "decay": "none",
        "schedule": "shuffled",
        "batches": "rows",
    },
    "selection": {"keep": "validation", "every": 20, "rows": 32, "judge": "default", "reply_tokens": 32},
    "evaluation": {
        "written": "best",
        "languages": None,
        "max_languages": None,
        "rows": None,
        "hard": True,
        "judge": "default",
        "judge_model": None,
        "judge_url": None,
        "other_judges": ["patterns", "encoder"],
        "reply_tokens": 32,
        "batch_size": None,
    },
}
MCD = {
    "objective.weights.refusal": 0.0,
    "objective.weights.harmfulness": 0.0,
    "objective.weights.residual": 0.0,
    "objective.weights.alignment": 0.0,
    "objective.weights.behaviour": 4.0,
    "objective.weights.keep": 2.0,
    "objective.harmless_weight": 1.25,
    "objective.anchor_rows": 8,
    "training.start": "long",
    "training.steps": 160,
    "training.learning_rate": 0.1,
    "training.beta2": 0.95,
    "training.decay": "cosine",
    "training.batches": "twins",
    "selection.every": 80,
    "selection.rows": 16,
}
ENGLISH_ANCHORS = {"objective.anchors": "english", "objective.anchor_rows": 48, "selection.keep": "last"}
NO_ALIGNMENT = {"objective.weights.alignment": 0.0, "objective.weights.harmfulness": 0.01}
CHANGED = {
    "written": {"training.steps": 0},
    "dro": ENGLISH_ANCHORS | NO_ALIGNMENT | {"training.schedule": "english"},
    "mcd-mixture": ENGLISH_ANCHORS | NO_ALIGNMENT,
    "mcd-code": ENGLISH_ANCHORS
    | NO_ALIGNMENT
    | {
        "objective.weights.frozen_alignment": 0.001,
        "objective.base_logits": "english",
        "objective.harmfulness_folds": "one",
        "training.schedule": "sequential",
    },
    "mcd-paper": ENGLISH_ANCHORS | {"training.schedule": "rotate"},
    "mcd": MCD,
    "quick": MCD
    | {
        "objective.anchor_rows": 4,
        "training.start": "medium",
        "training.steps": 52,
        "selection.every": 20,
        "selection.keep": "last",
        "selection.rows": 6,
        "evaluation.rows": 16,
        "evaluation.max_languages": 7,
        "evaluation.hard": False,
    },
}


def significant(settings):
    """All settings as plain values, with the weight of every loss."""
    plain = settings.model_dump(mode="json")
    plain["objective"]["weights"] = resolve_weights(settings.objective.weights)
    return plain


def expected(preset):
    plain = copy.deepcopy(DEFAULTS) | {"preset": preset}
    for name, value in CHANGED[preset].items():
        *sections, last = name.split(".")
        place = plain
        for section in sections:
            place = place[section]
        assert last in place
        place[last] = value
    return plain


def test_every_preset_is_checked():
    assert CHANGED.keys() == PRESETS.keys()


@pytest.mark.parametrize("preset", CHANGED)
def test_a_preset_has_the_published_values(preset):
    assert significant(Settings(model="m", preset=preset)) == expected(preset)
    assert significant(load_settings({"model": "m", "preset": preset})) == expected(preset)


@pytest.fixture
def started(monkeypatch):
    """Runs a call, and returns the settings of the run that it would start."""
    kept = []

    class Recorder:
        def __init__(self, settings, *_):
            kept.append(settings)

        def run(self):
            pass

    monkeypatch.setattr("babelguard.jobs.defend.Defend", Recorder)
    monkeypatch.setattr("babelguard.jobs.fit.Defend", Recorder)

    def start(call, *given, **named):
        kept.clear()
        call(*given, **named)
        (settings,) = kept
        return settings

    return start


def command_line(*arguments):
    result = CliRunner().invoke(app, ["defend", *arguments])
    assert result.exit_code == 0, result.output


def test_python_and_the_command_line_run_the_same_settings(started):
    assert Settings(model="demo").preset == "mcd"
    assert Settings(model="demo") == load_settings({"model": "demo"})
    assert Settings(model="demo") == started(command_line, "demo")
    assert Settings(model="demo") == started(fit)
    assert Settings(model="demo") == started(fit, Settings(model="demo"))
    quick = Settings(model="demo", preset="quick", training={"steps": 40}, evaluation={"rows": 8})
    options = ("--preset", "quick", "--steps", "40", "--limit", "8")
    assert quick == started(command_line, "demo", *options)
    assert quick == started(fit, "demo", preset="quick", steps=40, limit=8)


def test_given_values_win_over_the_preset(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('preset = "quick"\n[training]\nsteps = 7\nbeta2 = 0.5\n[objective.weights]\nopening = 0.25\n')
    given = Settings(
        model="m", preset="quick", training={"steps": 7, "beta2": 0.5}, objective={"weights": {"opening": 0.25}}
    )
    assert load_settings({"model": "m"}, file) == given
    values = expected("quick")
    values["training"] |= {"steps": 7, "beta2": 0.5}
    values["objective"]["weights"]["opening"] = 0.25
    assert significant(given) == values
    # An option wins over the file, and keeps its other values.
    values["training"]["steps"] = 3
    assert significant(load_settings({"model": "m", "steps": 3}, file)) == values
    # A complete section counts only with the values that were set.
    section = Settings(model="m", preset="quick", training=Training(steps=7))
    assert section.training.steps == 7 and section.training.learning_rate == 0.1


def test_presets_are_applied_inside_the_settings():
    # So a preset has the same effect in Python as on the command line, and settings can be read back.
    quick = Settings(model="m", preset="quick")
    assert Settings(**quick.model_dump()) == quick
    assert Settings.model_validate_json(quick.model_dump_json()) == quick
    assert PRESETS["quick"]["training"]["steps"] == 52


def test_an_unknown_preset_raises_one_sentence():
    with pytest.raises(UserError, match=r"^There is no preset 'mdc'; choose one of written, dro, .*, quick\.$"):
        load_settings({"model": "m", "preset": "mdc"})


@pytest.mark.parametrize("name", RENAMED)
def test_the_error_for_an_old_name_gives_the_new_one(tmp_path, name):
    file = tmp_path / "old.toml"
    file.write_text(f'model = "m"\n{name} = 1\n')
    with pytest.raises(UserError) as caught:
        load_settings({}, file)
    sentence = str(caught.value)
    assert f"'{name}' in {file} has a new name: {RENAMED[name]}" in sentence
    assert "\n" not in sentence and sentence.endswith(".")


def test_every_new_name_is_a_setting():
    plain = significant(Settings(model="m"))

    def exists(name):
        place = plain
        for part in name.split("."):
            if part not in place:
                return False
            place = place[part]
        return True

    for name, new in (OPTIONS | RENAMED).items():
        for one in new.split(" or "):
            assert exists(one.split(" (")[0]), (name, new)


OLD_NAMES = """
    languages test_languages limit_languages corpus limit prompt start prompt_length batch_size steps train_batch
    learning_rate beta2 decay schedule batches alignment alignment_languages base_logits refusal_weight
    harmfulness_weight residual_weight alignment_weight behaviour_weight harmless_weight opening_weight
    language_weighting dimensions harmfulness_folds anchors anchor_rows anchor_tokens select select_every select_rows
    reply_tokens judge
"""


def test_no_old_name_is_forgotten():
    new = {"columns", "label_column", "harmful", "judge_model", "judge_url"}
    assert set(OLD_NAMES.split()) == set(RENAMED) - new
