"""Read a JSON file or a line of a log into a validated record."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from babelguard.errors import UserError, damaged
from babelguard.files.parsing import json_fault, parse_json
from babelguard.files.text import FileFault, read_text


class Record(BaseModel):
    """The content of a file. Fields of newer versions are kept, so that they can be compared and written again."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", allow_inf_nan=False)


class LogRow(Record):
    """A line of a log.

    Attributes:
        key: What identifies the line.
    """

    key: str


Found = TypeVar("Found", bound=BaseModel)


def read_json_file(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileFault: If it cannot be read or is not valid JSON.
    """
    text = read_text(path)
    try:
        return parse_json(text)
    except ValueError as error:
        raise FileFault(path, json_fault(error)) from None


def read_record(path: Path, kind: type[Found], advice: str | None = None) -> Found | None:
    """Read a JSON file into a record.

    Args:
        path: The file.
        kind: The model of its content.
        advice: What to do if it is damaged; default: delete it.

    Returns:
        The record, or None if there is no such file.

    Raises:
        UserError: If the file cannot be read, is not valid JSON, or does not have the fields of the model.
    """
    try:
        return kind.model_validate(read_json_file(path))
    except FileFault as error:
        if error.missing:
            return None
        raise error.in_run(advice) from error
    except ValidationError as error:
        raise UserError(damaged(path, reason(error), advice)) from error


def reason(error: ValidationError) -> str:
    """Describe the first mistake that a model found, in one clause."""
    first = error.errors(include_url=False)[0]
    if first["type"] in ("model_type", "model_attributes_type") and not first["loc"]:
        return "it is not a JSON object"
    where = ".".join(str(part) for part in first["loc"])[:80]
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    return f"{where}: {message}" if where else message
