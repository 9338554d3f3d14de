"""Settings: priority of options, file, preset and defaults, and messages for mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from calls import user_error
from pydantic import BaseModel, ValidationError

from babelguard.cli.messages import CommandScreen, as_options, plain_errors
from babelguard.cli.options import about
from babelguard.config import Settings, load_settings
from babelguard.config.load import OPTIONS, RENAMED
from babelguard.config.presets import PRESETS
from babelguard.errors import UserError


@pytest.fixture
def toml(tmp_path):
    """Return a function that writes a settings file."""

    def write(text):
        (tmp_path / "settings.toml").write_text(text)
        return tmp_path / "settings.toml"

    return write


def test_options_override_the_file_which_overrides_the_preset(toml):
    file = toml("preset = 'quick'\nseed = 3\n[training]\nsteps = 40\nlearning_rate = 0.2\n[selection]\nrows = 5\n")
    settings = load_settings({"model": "demo", "steps": 7, "limit": 9, "seed": None}, file)
    assert (settings.training.steps, settings.training.learning_rate, settings.seed) == (7, 0.2, 3)
    assert (settings.selection.rows, settings.selection.keep) == (5, "last")
    assert (settings.evaluation.rows, settings.evaluation.max_languages) == (9, 7)
    assert settings.training.beta2 == 0.95  # of the preset
    assert settings.training.batch_size == 16  # the default
    # Another preset than in the file has its own values.
    other = load_settings({"model": "demo", "preset": "dro"}, file)
    assert (other.training.schedule, other.training.steps, other.selection.every) == ("english", 40, 20)


def test_single_weights_override_those_of_the_preset(toml):
    settings = load_settings({"model": "demo"}, toml("[objective.weights]\nopening = 0.5\nalignment = 0.01\n"))
    given = dict(PRESETS["mcd"]["objective"]["weights"])
    assert settings.objective.weights == given | {"opening": 0.5, "alignment": 0.01}


def test_settings_in_python_are_those_of_the_file(toml):
    file = toml("preset = 'quick'\n[data]\nlanguages = 'en, da'\n[training]\nsteps = 40\n")
    data, training = {"languages": ("en", "da")}, {"steps": 40}
    expected = Settings(model="demo", preset="quick", data=data, training=training)
    assert load_settings({"model": "demo"}, file) == expected
    assert load_settings({"model": "demo", "preset": "quick", "languages": "en,da", "steps": 40}) == expected
    # A section that is already validated sets only what was given.
    section = type(expected.training)(steps=40)
    assert Settings(model="demo", preset="quick", data=data, training=section) == expected
    with pytest.raises(ValidationError):
        expected.seed = 2


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_and_is_not_changed_by_use(preset):
    settings = Settings(model="demo", preset=preset)
    assert settings.preset == preset
    assert Settings(model="demo", preset=preset, objective={"weights": {"opening": 9.0}}) != settings
    assert Settings(model="demo", preset=preset) == settings
    # Written to a file and read again, all values are the same.
    assert Settings(**settings.model_dump(mode="json")) == settings


def documented():
    """Return the rows of the tables in docs/settings.md: setting -> (default, meaning)."""
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    rows, section = {}, ""
    for line in page.splitlines():
        if line.startswith("## "):
            section = "".join(re.findall(r"\[(\w+)\]", line))
        elif found := re.fullmatch(r"\| `(\w+)` \| (.*?) ?\| (.*?) ?\| (.*) \|", line):
            name, default, _, meaning = found.groups()
            rows[f"{section}.{name}" if section else name] = (
                default.strip("`"),
                re.sub(r"\[.*?\]\((.*?)\)", r"docs/\1", meaning),
            )
    return rows


def test_the_documentation_has_every_setting_with_its_default_and_meaning():
    rows = documented()
    sections = {name: field.annotation for name, field in Settings.model_fields.items() if has_fields(field.annotation)}
    found = {
        f"{section}.{name}": field for section, model in sections.items() for name, field in model.model_fields.items()
    }
    found |= {name: field for name, field in Settings.model_fields.items() if name not in sections}
    assert rows.keys() == found.keys()
    for name, field in found.items():
        default, meaning = rows[name]
        assert meaning == field.description, name
        value = field.get_default(call_default_factory=True)
        if name not in ("model", "preset", "objective.weights"):  # required, replaced, and in a table of its own
            assert default == ("" if value is None else json.dumps(value)), name


def has_fields(annotation):
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def test_every_option_sets_an_existing_setting_with_a_description():
    for option, setting in OPTIONS.items():
        assert about(option), option
        section, name = setting.split(".")
        assert name in Settings.model_fields[section].annotation.model_fields
    for setting in RENAMED.values():
        section, name, *_ = setting.split(" ")[0].split(".")
        assert name in Settings.model_fields[section].annotation.model_fields


MISTAKES = {
    "an unknown setting": ("steps_ = 3", "There is no setting 'steps_' in {file}; available: model, revision,"),
    "an unknown setting in a section": (
        "[training]\nstep = 3",
        "There is no setting 'training.step' in {file}; available: start, prompt_length, steps,",
    ),
    "an unknown section": ("[trainings]\nsteps = 3", "There is no setting 'trainings' in {file}"),
    "a section that is a value": ("training = 3", "The setting 'training' in {file} is not valid"),
    "a wrong value": ("[training]\nsteps = -1", "The setting 'training.steps' in {file} is not valid"),
    "a wrong weight": ("[objective.weights]\nopening = 'x'", "The setting 'objective.weights.opening' in {file}"),
    "a negative weight": ("[objective.weights]\nopening = -1", "the weight of 'opening' is negative"),
    "an unknown preset": ("preset = 'mdc'", "There is no preset 'mdc'; choose one of written, dro,"),
    "a preset that is a list": ("preset = ['mcd']", "There is no preset '['mcd']'; choose one of written,"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_a_file(toml, mistake):
    text, said = MISTAKES[mistake]
    file = toml(text)
    assert said.format(file=file) in user_error(lambda: load_settings({"model": "demo"}, file))


def test_a_wrong_option_is_not_blamed_on_the_file(toml):
    file = toml("[training]\nsteps = 3\n")
    sentence = user_error(lambda: load_settings({"model": "demo", "steps": "many"}, file))
    assert "The setting `training.steps` is not valid" in sentence
    assert str(file) not in sentence


@pytest.mark.parametrize("name", RENAMED)
def test_the_error_for_an_old_name_gives_the_new_one(toml, name):
    sentence = user_error(lambda: load_settings({"model": "demo"}, toml(f"{name} = 3")))
    assert f"has a new name: {RENAMED[name]}" in sentence


def evaluate_like(prompts: str, limit: int) -> None:
    """A command without a configuration file."""


def test_the_command_line_writes_settings_as_its_options(capsys):
    from babelguard.cli.defend import defend

    with plain_errors(defend):
        text = as_options("`output`, `evaluation.rows`, `evaluation.written`, `trust_remote_code`, `training.steps`")
        assert text == "--output, --limit, --prompt, --trust-remote-code, --steps"
        assert as_options("`selection.every` and `model`") == "selection.every (in the configuration file) and MODEL"
        CommandScreen().say("use `batch_size`")
    assert capsys.readouterr().out == "use --batch-size\n"
    with plain_errors(evaluate_like):
        assert as_options("`selection.every`") == "selection.every"
    # Outside a command, nothing is an option.
    assert as_options("`output`") == "output"


def test_errors_of_a_command_end_in_one_sentence(capsys):
    from babelguard.cli.defend import defend

    with pytest.raises(typer.Exit) as stopped, plain_errors(defend):
        raise UserError("The `output` \x1b[31mruns\n is full; choose another `output`.")
    assert stopped.value.exit_code == 2
    assert capsys.readouterr().err == "Error: The --output \\u001b[31mruns\\u000a is full; choose another --output.\n"
