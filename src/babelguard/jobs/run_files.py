"""The content of the JSON files of runs and evaluations, as far as other commands read it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from babelguard.files import Record, read_record

CONFIG, METRICS, LOCAL = "config.json", "metrics.json", "local.json"


class DataSection(Record):
    """The section `data` of config.json."""

    languages: tuple[str, ...] = Field(default=(), strict=False)


class EvaluationSection(Record):
    """The section `evaluation` of config.json."""

    judge: str = "default"
    judge_model: str | None = None
    judge_url: str | None = None
    reply_tokens: int = 32


class RunConfig(Record):
    """config.json of a run: its settings, and `run`, what else its result depends on."""

    preset: str
    dtype: str = "auto"
    revision: str | None = None
    data: DataSection = DataSection()
    evaluation: EvaluationSection = EvaluationSection()
    run: dict[str, str] = Field(default_factory=dict)


class LocalFile(Record):
    """local.json of a run: the location of its model."""

    model: str | None = None


class Facts(Record):
    """What an evaluation or an analysis depends on."""

    __pydantic_extra__: dict[str, str] = Field(init=False)


class Count(Record):
    """A cell of metrics.json. `n`: the number of its replies."""

    n: int


class ReportedRow(Record):
    """A row of metrics.json, also of older versions."""

    model: str
    defence: str
    seed: int | None
    benchmark: str
    split: str
    language: str
    attack: str = "none"
    trained: bool
    attack_success: Count
    false_refusal: Count
    hard_refusal: Count | None = None

    @property
    def cells(self) -> list[Count]:
        """The cells that the row has."""
        return [cell for cell in (self.attack_success, self.false_refusal, self.hard_refusal) if cell is not None]


class ReportedMetrics(Record):
    """metrics.json, also of older versions."""

    rows: tuple[ReportedRow, ...] = Field(strict=False)


def read_run_config(folder: Path) -> RunConfig | None:
    """Read config.json of a run. None if there is no such file.

    Raises:
        UserError: If it is damaged.
    """
    return read_record(folder / CONFIG, RunConfig, "restore it, or give another folder")
