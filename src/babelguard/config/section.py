"""The base class of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """A part of the settings. Unknown names, infinite numbers and NaN are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields.get(info.field_name or "")
        kind = None if field is None else field.annotation
        if kind is bool and not isinstance(value, bool):
            raise ValueError("write true or false")
        inner = value.values() if isinstance(value, Mapping) and get_origin(kind) is not None else (value,)
        if kind is not bool and any(isinstance(one, bool) for one in inner):
            raise ValueError("true and false are not allowed here")
        return value
