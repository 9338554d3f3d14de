"""One validated configuration, shared by the command line, TOML files and Python."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from babelguard.errors import UserError
from babelguard.languages import language
from babelguard.presets import PRESETS
from babelguard.written import BEST

AUTO = "auto:"
PAPER_LANGUAGES = ("en", "da", "ko", "el", "ga")


class Settings(BaseModel):
    """Everything that decides the result of a run. Field names are those of the command line and of TOML files."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = Field(description="demo, smollm2, a local folder or a hub id of a causal chat model")
    revision: str | None = Field(None, description="revision of a hub model")
    preset: str = Field("mcd", description=f"which defence is trained: {', '.join(PRESETS)}")
    languages: tuple[str, ...] = Field(
        PAPER_LANGUAGES,
        description="languages to train on (on the command line en,da,ko); auto:5 has five chosen that cover the rest",
    )
    test_languages: tuple[str, ...] | None = Field(
        None, description="languages to test; default: all that the corpus has"
    )
    limit_languages: int | None = Field(
        None, ge=1, description="test at most so many languages, those trained on first, where none are named"
    )
    corpus: Path | None = Field(None, description="folder or file of parallel prompts; default: the corpus that ships")
    limit: int | None = Field(None, ge=1, description="rows tested per label and language; default: all")
    prompt: str = Field(
        "best",
        description="written prompt to compare with: best (on validation replies), long, medium, short or your own text",
    )
    start: str | None = Field(
        None,
        description="written prompt that training begins from; default: that of `prompt`, or long where that is best",
    )
    prompt_length: int | None = Field(None, ge=1, le=512, description="soft tokens; default: as many as the text has")
    seed: int = Field(0, ge=0, description="of everything that is drawn: same seed, same machine, same result")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto, float32, bfloat16, float16"
    )
    batch_size: int | None = Field(
        None, ge=1, description="replies at a time; default: automatic, halved if memory runs out"
    )
    trust_remote_code: bool = Field(False, description="run model code from the hub (off unless you ask for it)")

    steps: int = Field(120, ge=0, description="training steps; 0 keeps the written prompt")
    train_batch: int = Field(16, ge=2, description="rows a step")
    learning_rate: float = Field(0.06, gt=0, description="relative to the root mean square of the model's embeddings")
    beta2: float = Field(
        0.999, gt=0, lt=1, description="memory of AdamW's second moment; less of it forgives a sudden large gradient"
    )
    decay: Literal["none", "cosine"] = Field(
        "none",
        description="cosine: the step size rises over the first twelfth of the steps and then falls to a twentieth",
    )
    schedule: Literal["english", "sequential", "rotate", "turns", "shuffled"] = Field(
        "shuffled",
        description="which language is the centre: English alone; one after the other, once; another one every epoch, every step "
        "or every row",
    )
    batches: Literal["rows", "twins"] = Field(
        "rows", description="what a step is dealt from: single rows, or twins side by side in one language"
    )
    alignment: Literal["none", "frozen", "live"] = Field("live", description="target of L_m")
    alignment_languages: int = Field(1, ge=1, description="other languages sampled per row for the live L_m")
    base_logits: Literal["own", "english"] = Field(
        "own", description="whose logits under the written prompt L_r and L_h start from"
    )
    refusal_weight: float = Field(1.0, ge=0)
    harmfulness_weight: float = Field(1.0, ge=0)
    residual_weight: float = Field(1e-3, ge=0, description="beta")
    alignment_weight: float = Field(1e-3, ge=0, description="alpha")
    behaviour_weight: float = Field(0.0, ge=0, description="weight of the first-token term, ours")
    harmless_weight: float = Field(
        1.0, gt=0, description="weight of harmless against harmful rows in the first-token term"
    )
    opening_weight: float = Field(0.0, ge=0, description="weight of the term that keeps how answers open, ours")
    language_weighting: Literal["mean", "worst"] = Field("mean", description="worst: group-robust weights by language")
    dimensions: int = Field(4, ge=1, le=64, description="m, directions of the safety space")
    harmfulness_folds: Literal["ten", "one"] = "ten"
    anchors: Literal["english", "training"] = Field("training", description="languages of the anchor queries")
    anchor_rows: int = Field(16, ge=4, description="anchor rows per label and language")
    anchor_tokens: int = Field(12, ge=4, description="tokens of an anchor reply")
    select: Literal["last", "validation"] = Field("validation", description="which step's prompt is kept")
    select_every: int = Field(20, ge=1, description="steps between measured validations")
    select_rows: int = Field(32, ge=1, description="validation rows per label and language")
    reply_tokens: int = Field(24, ge=4, description="tokens of a reply in the evaluation")

    @field_validator("languages", "test_languages", mode="before")
    @classmethod
    def _split(cls, codes: Any) -> Any:
        """In a TOML file `languages = "auto:5"` or "en,da" is as good as a list."""
        return words(codes) if isinstance(codes, str) else codes

    @field_validator("languages", "test_languages")
    @classmethod
    def _known_languages(cls, codes: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if codes is None:
            return None
        if info.field_name == "test_languages" and any(code.startswith(AUTO) for code in codes):
            raise ValueError("only training languages can be chosen; name the languages to test")
        known = tuple(code if code.startswith(AUTO) else language(code).code for code in codes)
        if len(set(known)) != len(known):
            raise ValueError("a language is named twice")
        if not known:
            raise ValueError("name at least one language")
        return known

    @field_validator("prompt")
    @classmethod
    def _prompt_is_a_text(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("the prompt is empty; choose best, long, medium, short or your own text")
        return prompt

    @field_validator("start")
    @classmethod
    def _start_is_a_text(cls, start: str | None) -> str | None:
        if start == BEST:
            raise ValueError(
                "it must be known before validation replies are; choose long, medium, short or your own text"
            )
        if start is not None and not start.strip():
            raise ValueError("the prompt to start from is empty; choose long, medium, short or your own text")
        return start

    @property
    def longest_written(self) -> str:
        """The written prompt to reckon with until the best is known: the longest, so that what fits now fits then."""
        return "long" if self.prompt == BEST else self.prompt

    @property
    def starts_from(self) -> str:
        """The written prompt that training begins from."""
        return self.start or self.longest_written

    @property
    def wanted_languages(self) -> int | None:
        """How many languages are to be chosen ('auto:5'), or None where they are named."""
        first = self.languages[0]
        return int(first.removeprefix(AUTO)) if first.startswith(AUTO) else None

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        automatic = [code for code in self.languages if code.startswith(AUTO)]
        if automatic and (len(self.languages) > 1 or not automatic[0].removeprefix(AUTO).isdecimal()):
            raise ValueError("write 'auto:5' alone, with the number of languages to choose, or name the languages")
        if self.wanted_languages == 0:
            raise ValueError("choose at least one language: 'auto:1'")
        count = self.wanted_languages or len(self.languages)
        if self.alignment == "live" and count < 2 and self.alignment_weight > 0 and self.steps > 0:
            raise ValueError(
                "the live alignment loss needs at least two training languages; add one or set alignment = 'none'"
            )
        if self.start is not None and not self.steps:
            raise ValueError("start has no effect where nothing is trained (steps = 0); set prompt instead")
        if self.base_logits == "english" and "en" not in self.languages:
            raise ValueError("base_logits = 'english' needs 'en' among the training languages")
        if self.schedule == "english" and "en" not in self.languages:
            raise ValueError("schedule = 'english' needs 'en' among the training languages")
        if self.steps and not (self.refusal_weight or self.harmfulness_weight or self.behaviour_weight):
            raise ValueError(
                "refusal_weight, harmfulness_weight and behaviour_weight are all 0, so nothing would be learned"
            )
        return self


@overload
def words(text: str) -> tuple[str, ...]: ...
@overload
def words(text: None) -> None: ...
def words(text: str | None) -> tuple[str, ...] | None:
    """A list that is given as one text, separated by commas."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def load_settings(given: dict[str, Any], file: Path | None = None) -> Settings:
    """Build settings: defaults, then the preset, then the TOML file, then what was given on the command line.

    Raises:
        UserError: one sentence that names the field, its value and what it may be.
    """
    from_file: dict[str, Any] = {}
    if file is not None:
        try:
            from_file = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        except FileNotFoundError as error:
            raise UserError(f"The configuration file {file} does not exist.") from error
        except OSError as error:
            raise UserError(
                f"The configuration file {file} cannot be read ({error.strerror or error}); name a TOML file."
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"The configuration file {file} is not valid TOML: {error}.") from error
    merged = from_file | {k: v for k, v in given.items() if v is not None}
    preset = str(merged.get("preset", Settings.model_fields["preset"].default))
    if preset not in PRESETS:
        raise UserError(f"There is no preset '{preset}'; choose one of {', '.join(PRESETS)}.")
    try:
        return Settings(**(dict(PRESETS[preset]) | merged | {"preset": preset}))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f" in {file}" if file is not None and first["loc"] and first["loc"][0] in from_file else ""
        if first["type"] == "extra_forbidden":
            known = ", ".join(Settings.model_fields)
            raise UserError(f"There is no setting '{field}'{where}; known names are {known}.") from error
        message = first["msg"].removeprefix("Value error, ")
        if not field:
            raise UserError(f"The settings do not go together: {message}.") from error
        raise UserError(f"The setting '{field}'{where} is not valid: {message} (it is {first['input']!r}).") from error
