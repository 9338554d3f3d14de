"""Build settings from flat options and a TOML file, and explain mistakes in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from babelguard.config.settings import Settings, merged
from babelguard.errors import UserError
from babelguard.files import FileFault, check_value, parse_toml, read_text

# The settings of options of the command line and arguments of `fit`. Options that are not listed have their setting's name.
OPTIONS = {
    "languages": "data.languages",
    "corpus": "data.corpus",
    "columns": "data.columns",
    "label_column": "data.label_column",
    "harmful": "data.harmful",
    "start": "training.start",
    "prompt_length": "training.prompt_length",
    "steps": "training.steps",
    "prompt": "evaluation.written",
    "test_languages": "evaluation.languages",
    "limit": "evaluation.rows",
    "judge": "evaluation.judge",
    "judge_model": "evaluation.judge_model",
    "judge_url": "evaluation.judge_url",
    "reply_tokens": "evaluation.reply_tokens",
    "batch_size": "evaluation.batch_size",
}

# The new names of settings that older configuration files contain.
RENAMED = OPTIONS | {
    "limit_languages": "evaluation.max_languages",
    "train_batch": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "beta2": "training.beta2",
    "decay": "training.decay",
    "schedule": "training.schedule",
    "batches": "training.batches",
    "select": "selection.keep",
    "select_every": "selection.every",
    "select_rows": "selection.rows",
    "base_logits": "objective.base_logits",
    "harmless_weight": "objective.harmless_weight",
    "alignment": "objective.weights.alignment (live) or objective.weights.frozen_alignment (frozen)",
    "alignment_languages": "objective.alignment_languages",
    "language_weighting": "objective.weighting",
    "dimensions": "objective.dimensions",
    "harmfulness_folds": "objective.harmfulness_folds",
    "anchors": "objective.anchors",
    "anchor_rows": "objective.anchor_rows",
    "anchor_tokens": "objective.anchor_tokens",
    "refusal_weight": "objective.weights.refusal",
    "harmfulness_weight": "objective.weights.harmfulness",
    "residual_weight": "objective.weights.residual",
    "alignment_weight": "objective.weights.alignment",
    "behaviour_weight": "objective.weights.behaviour",
    "opening_weight": "objective.weights.opening",
}


def load_settings(options: Mapping[str, Any], file: Path | None = None) -> Settings:
    """Build settings from options, which take priority, and a TOML file.

    Args:
        options: Values by option name (see `OPTIONS`), or by dotted setting name. None means not given.
        file: A TOML file with settings.

    Raises:
        UserError: Naming the setting, its value, and the allowed values.
    """
    from_file = {} if file is None else read_toml(file)
    for name in from_file:
        if name in RENAMED:
            raise UserError(f"The setting '{name}' in {file} has a new name: {RENAMED[name]}; see docs/settings.md.")
    given: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            check_text(OPTIONS.get(name, name), value)
            *sections, last = OPTIONS.get(name, name).split(".")
            place = given
            for section in sections:
                place = place.setdefault(section, {})
            place[last] = value
    try:
        return Settings(**merged(from_file, given))
    except ValidationError as error:
        raise UserError(_explain(error, from_file, given, file)) from error


def check_text(name: str, value: Any) -> None:
    """Check a text of the command line, where bytes that are not UTF-8 become lone surrogates. Paths may contain them."""
    try:
        check_value(value)
    except ValueError as error:
        raise UserError(f"The setting `{name}` cannot be used ({error}); write it as UTF-8.") from None


def read_toml(file: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        UserError: If it does not exist, cannot be read, or is not valid TOML.
    """
    try:
        return parse_toml(read_text(file))
    except FileFault as error:
        if error.missing:
            raise UserError(f"The configuration file {file} does not exist; check the name.") from error
        if error.unreadable:
            raise UserError(
                f"The configuration file {file} cannot be read ({error.why}); choose a TOML file."
            ) from error
        raise UserError(f"The configuration file {file} is not valid TOML: {error.why}.") from error
    except ValueError as error:
        raise UserError(f"The configuration file {file} is not valid TOML: {error}.") from error


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _explain(error: ValidationError, from_file: Mapping[str, Any], given: Mapping[str, Any], file: Path | None) -> str:
    first = error.errors()[0]
    path = tuple(str(part) for part in first["loc"])
    name = ".".join(path)
    message = first["msg"].removeprefix("Value error, ")
    if not name:
        if message.startswith("there is no preset"):
            return f"{message[0].upper()}{message[1:]}."
        return f"The settings are not consistent: {message}."
    # Options take priority over the file.
    where = f" in {file}" if file is not None and _holds(from_file, path) and not _holds(given, path) else ""
    if first["type"] == "extra_forbidden":
        return f"There is no setting '{name}'{where}; available: {', '.join(_names(path[:-1]))}."
    # A file contains the name of the setting, not of the option.
    shown = f"'{name}'" if where else f"`{name}`"
    return f"The setting {shown}{where} is not valid: {message} (the value is {_short(first['input'])})."


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _holds(content: Any, path: tuple[str, ...]) -> bool:
    """Whether a nested mapping has a value at this path. Indices of lists are not followed."""
    for part in path:
        if not isinstance(content, Mapping):
            return True
        if part not in content:
            return False
        content = content[part]
    return True


def _names(section: tuple[str, ...]) -> list[str]:
    """Names of the settings in a section."""
    model: type[BaseModel] = Settings
    for name in section:
        found = model.model_fields[name].annotation if name in model.model_fields else None
        if not (isinstance(found, type) and issubclass(found, BaseModel)):
            break
        model = found
    return list(model.model_fields)
