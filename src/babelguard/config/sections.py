"""The sections of the settings, one class each. Their descriptions are also the help texts of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from babelguard.config.lists import known_languages, split_list
from babelguard.config.section import Section

AUTO = "auto:"
BEST = "best"
PAPER_LANGUAGES = ("en", "da", "ko", "el", "ga")


class Data(Section):
    """The training data."""

    languages: tuple[str, ...] = Field(
        default=PAPER_LANGUAGES,
        description="training languages, separated by commas, or auto:5 to choose five that represent the others",
    )
    corpus: Path | None = Field(
        default=None, description="file or folder of parallel prompts; default: the built-in corpus"
    )
    columns: tuple[str, ...] = Field(
        default=(),
        description="language and column of the prompts, such as en=goal; default: recognised by their names",
    )
    label_column: str | None = Field(default=None, description="column of the labels; default: recognised by its name")
    harmful: tuple[str, ...] = Field(
        default=(),
        description="harmful values of the label column, where * matches any text; all other values are harmless",
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _pairs(cls, columns: Any) -> Any:
        return tuple(f"{code}={name}" for code, name in columns.items()) if isinstance(columns, Mapping) else columns

    @field_validator("harmful", mode="before")
    @classmethod
    def _one_pattern(cls, patterns: Any) -> Any:
        return (patterns,) if isinstance(patterns, str) else patterns

    @field_validator("languages", mode="before")
    @classmethod
    def _split(cls, codes: Any) -> Any:
        return split_list(codes) if isinstance(codes, str) else codes

    @field_validator("languages")
    @classmethod
    def _known(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        automatic = [code for code in codes if code.startswith(AUTO)]
        if automatic and (len(codes) > 1 or not automatic[0].removeprefix(AUTO).isdecimal()):
            raise ValueError(
                "give language codes, or only 'auto:' and the number of languages to choose, as in 'auto:5'"
            )
        if automatic and int(automatic[0].removeprefix(AUTO)) == 0:
            raise ValueError("choose at least one language: 'auto:1'")
        return codes if automatic else known_languages(codes)

    @property
    def number_to_choose(self) -> int | None:
        """Number of languages to choose ('auto:5'), or None if the languages are given."""
        first = self.languages[0]
        return int(first.removeprefix(AUTO)) if first.startswith(AUTO) else None


class Objective(Section):
    """The safety space and the loss; see docs/method.md."""

    weights: Mapping[str, float] = Field(
        default_factory=dict,
        description="weight of each loss by name; losses that are not named have their default weight",
    )
    base_logits: Literal["own", "english"] = Field(
        default="own", description="base logits of L_r and L_h: those of the query itself, or of its English version"
    )
    harmless_weight: float = Field(
        default=1.0, gt=0, description="weight of harmless relative to harmful rows in the behaviour loss"
    )
    alignment_languages: int = Field(
        default=1, ge=1, description="number of other languages sampled per row for the alignment loss"
    )
    weighting: Literal["mean", "worst", "errors"] = Field(
        default="mean",
        description="mean: equal weights; worst: group distributionally robust optimisation, which increases the weight of "
        "languages with a high loss; errors: each language and label is weighted by its error rate on training rows",
    )
    layer: Literal["last", "auto"] | int = Field(
        default="last",
        description="layer of the safety space: last (after the final norm), auto (the layer that best separates harmful from "
        "harmless training rows), or the number of a layer, counted from 1",
    )
    dimensions: int = Field(default=4, ge=1, le=64, description="number of directions of the safety space (m)")
    harmfulness_folds: Literal["ten", "one"] = Field(
        default="ten", description="number of folds whose harmfulness heads are averaged: ten or one"
    )
    anchors: Literal["english", "training"] = Field(default="training", description="languages of the anchor queries")
    anchor_rows: int = Field(default=16, ge=4, description="anchor rows per label and language")
    anchor_tokens: int = Field(default=12, ge=4, description="length of an anchor reply in tokens")

    @field_validator("weights")
    @classmethod
    def _not_negative(cls, weights: Mapping[str, float]) -> Mapping[str, float]:
        for name, weight in weights.items():
            if weight < 0:
                raise ValueError(f"the weight of '{name}' is negative")
        return weights


class Training(Section):
    """How the soft prompt is trained."""

    start: str | None = Field(
        default=None,
        description="written prompt that training starts from: long, medium, short or your own text; default: the baseline",
    )
    prompt_length: int | None = Field(
        default=None, ge=1, le=512, description="number of soft tokens; default: the length of the start prompt"
    )
    steps: int = Field(default=120, ge=0, description="training steps; 0 keeps the written prompt")
    batch_size: int = Field(default=16, ge=2, description="rows per step")
    learning_rate: float = Field(
        default=0.06, gt=0, description="learning rate, relative to the root mean square of the model's embeddings"
    )
    beta2: float = Field(default=0.999, gt=0, lt=1, description="AdamW's decay rate for the second moment")
    decay: Literal["none", "cosine"] = Field(
        default="none",
        description="none: constant learning rate; cosine: warm up for a twelfth of the steps, then decay to a twentieth of the "
        "learning rate",
    )
    schedule: Literal["english", "sequential", "rotate", "turns", "shuffled"] = Field(
        default="shuffled",
        description="centre language: English only (english), each language for an equal share of the steps (sequential), or a "
        "new language every epoch (rotate), step (turns) or row (shuffled)",
    )
    batches: Literal["rows", "twins"] = Field(
        default="rows",
        description="rows: rows are shuffled one by one; twins: a harmful row and its similarly worded harmless row are in the "
        "same batch and language",
    )

    @field_validator("start")
    @classmethod
    def _start_is_a_text(cls, start: str | None) -> str | None:
        if start == BEST:
            raise ValueError(
                "the best prompt is chosen by `evaluation.written`, and training starts from it by default; choose long, medium, "
                "short or your own text"
            )
        if start is not None and not start.strip():
            raise ValueError("the prompt is empty; choose long, medium, short or your own text")
        return start


class Selection(Section):
    """How the trained prompt is selected from the steps."""

    keep: Literal["last", "validation"] = Field(
        default="validation",
        description="validation: keep the prompt with the lowest error on validation replies; last: keep that of the last step",
    )
    every: int = Field(default=20, ge=1, description="steps between validations")
    rows: int = Field(default=32, ge=1, description="validation rows per label and language")
    judge: str = Field(
        default="default",
        description="judge of the anchor and validation replies; results are reported with `evaluation.judge`",
    )
    reply_tokens: int = Field(
        default=32,
        ge=4,
        description="length of an English validation reply in tokens; see `evaluation.reply_tokens` for other languages",
    )


class Evaluation(Section):
    """What is measured, and the baseline."""

    written: str = Field(
        default=BEST,
        description="written prompt used as baseline: best (on validation replies), long, medium, short or your own text",
    )
    languages: tuple[str, ...] | None = Field(
        default=None, description="test languages, separated by commas; default: all languages of the corpus"
    )
    max_languages: int | None = Field(
        default=None,
        ge=1,
        description="maximum number of test languages if none are given; training languages come first",
    )
    rows: int | None = Field(default=None, ge=1, description="rows per label and language; default: all")
    hard: bool = Field(default=True, description="also test the harmless rows that look harmful (split hard)")
    judge: str = Field(
        default="default", description="name of the judge that classifies the replies; see docs/judging.md"
    )
    judge_model: str | None = Field(
        default=None,
        description="model of a judge that asks a language model: its name at `judge_url`, a folder or a hub id",
    )
    judge_url: str | None = Field(
        default=None, description="OpenAI-compatible endpoint of such a judge, such as http://127.0.0.1:8000/v1"
    )
    other_judges: tuple[str, ...] = Field(
        default=("patterns", "encoder"),
        description="judges that the differences between defences are reported with as well, separated by commas",
    )
    reply_tokens: int = Field(
        default=32,
        ge=4,
        description="length of an English reply in tokens; languages that need more tokens for the same text get up to 4 times "
        "as many",
    )
    batch_size: int | None = Field(
        default=None, ge=1, description="replies generated together; default: 64, halved when memory runs out"
    )

    @field_validator("languages", "other_judges", mode="before")
    @classmethod
    def _split(cls, codes: Any) -> Any:
        return split_list(codes) if isinstance(codes, str) else codes

    @field_validator("languages")
    @classmethod
    def _known(cls, codes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if codes is not None and any(code.startswith(AUTO) for code in codes):
            raise ValueError("only training languages can be chosen automatically; list the test languages")
        return None if codes is None else known_languages(codes)

    @field_validator("written")
    @classmethod
    def _not_empty(cls, written: str) -> str:
        if not written.strip():
            raise ValueError("the prompt is empty; choose best, long, medium, short or your own text")
        return written
