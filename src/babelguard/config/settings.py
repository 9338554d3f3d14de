"""Everything that determines the result of a run.

The settings are nested like the tables of a TOML file. Values come from, in increasing priority: the defaults, the preset,
and what the user gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from babelguard.config.presets import PRESETS
from babelguard.config.section import Section
from babelguard.config.sections import BEST, Data, Evaluation, Objective, Selection, Training


class Settings(Section):
    """Settings of a run.

    Example:
        >>> Settings(model="demo", preset="quick", training={"steps": 40}).training.steps
        40
    """

    model: str = Field(
        description="name of a packaged model (demo, qwen2.5-coder-1.5b, ...), a local folder or a hub id"
    )
    revision: str | None = Field(default=None, description="revision of a hub model")
    preset: str = Field(default="mcd", description=f"training method: {', '.join(PRESETS)}")
    seed: int = Field(default=0, ge=0, description="random seed")
    device: str = Field(
        default="auto",
        description="auto, cpu, cuda, cuda:1, mps, or map to spread the layers over all GPUs of the machine",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="auto, float32, bfloat16, float16"
    )
    sharding: Literal["none", "fsdp"] = Field(
        default="none",
        description="none: each process has the whole model; fsdp: the processes that torchrun starts share its weights; see "
        "docs/scale-training.md",
    )
    trust_remote_code: bool = Field(default=False, description="allow model code from the hub to run")
    data: Data = Field(default_factory=Data)
    objective: Objective = Field(default_factory=Objective)
    training: Training = Field(default_factory=Training)
    selection: Selection = Field(default_factory=Selection)
    evaluation: Evaluation = Field(default_factory=Evaluation)

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        preset = given.get("preset", cls.model_fields["preset"].default)
        if not isinstance(preset, str) or preset not in PRESETS:
            raise ValueError(f"there is no preset '{preset}'; choose one of {', '.join(PRESETS)}")
        plain = {k: v.model_dump(exclude_unset=True) if isinstance(v, BaseModel) else v for k, v in given.items()}
        found = merged(PRESETS[preset], plain)
        training = found.get("training")
        # Without training, the start of a preset has no meaning. A start that the user gives is rejected below.
        if isinstance(training, dict) and training.get("steps") == 0 and "start" not in plain.get("training", {}):
            training.pop("start", None)
        return found

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        codes = self.data.languages
        if self.training.start is not None and not self.training.steps:
            raise ValueError(
                "`training.start` has no effect without training (`training.steps` is 0); set `evaluation.written` instead"
            )
        if self.objective.base_logits == "english" and "en" not in codes:
            raise ValueError("`objective.base_logits` 'english' needs 'en' among the training languages")
        if self.training.schedule == "english" and "en" not in codes:
            raise ValueError("`training.schedule` 'english' needs 'en' among the training languages")
        return self

    @property
    def baseline(self) -> str:
        """The written prompt used as baseline.

        While the best prompt is not known, this is the longest one, so that length checks hold for all of them.
        """
        return "long" if self.evaluation.written == BEST else self.evaluation.written

    @property
    def start(self) -> str:
        """The written prompt that training starts from: the given one, or the baseline."""
        return self.training.start or self.baseline

    def with_section(self, section: str, **values: Any) -> Settings:
        """Return a copy with some values of a section replaced. The values are not validated."""
        return self.model_copy(update={section: getattr(self, section).model_copy(update=values)})


def merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested mappings. Values in `given` take priority."""
    result = dict(base)
    for name, value in given.items():
        both = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        result[name] = merged(result[name], value) if both else value
    return result
