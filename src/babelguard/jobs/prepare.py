"""Load everything a run needs: settings, model, judge, rows, languages and the output folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from babelguard.analysis.auto import auto_languages
from babelguard.config import Settings
from babelguard.corpus import Corpus, PromptOptions, Question, questions, read_corpus, with_hard_rows
from babelguard.corpus.reading.options import parse_columns
from babelguard.errors import UserError
from babelguard.evaluation.reply_length import reply_budgets
from babelguard.jobs.cross_check import Judges, create_judges, judge_options
from babelguard.jobs.load_model import load_model
from babelguard.jobs.run_files import read_run_config
from babelguard.jobs.run_folder import default_output
from babelguard.judges import Judge
from babelguard.judges.base import identity_of
from babelguard.languages import display_name
from babelguard.method.anchors import anchor_digest
from babelguard.method.objective import check_weights, resolve_weights
from babelguard.models.load import ChatModel
from babelguard.screen import Screen
from babelguard.targets import LocalModel

# Increase when the same settings train a different prompt than before, so that no run is resumed with another method.
METHOD = "5"


@dataclass(frozen=True)
class Prepared:
    """The loaded inputs of a run.

    Attributes:
        settings: The settings. `auto:5` is replaced by the chosen languages.
        requested: The training languages as given by the user.
        chat: The model.
        judges: The judges.
        output: The run folder.
        train, validation, test: The rows of each split. The test rows are limited to what is tested.
    """

    settings: Settings
    requested: tuple[str, ...]
    chat: ChatModel
    judges: Judges
    output: Path
    train: Corpus
    validation: Corpus
    test: Corpus

    @property
    def languages(self) -> tuple[str, ...]:
        """The training languages."""
        return self.settings.data.languages

    @property
    def validation_questions(self) -> list[Question]:
        """Questions that prompts are selected on."""
        return questions(
            self.validation.select(self.languages, self.settings.selection.rows), self.languages, "validation"
        )

    @property
    def test_questions(self) -> list[Question]:
        """Questions that results are reported on."""
        return questions(self.test, self.test.languages, "test")

    def budgets(self, tokens: int, languages: Sequence[str] | None = None) -> dict[str, int]:
        """Return the length of replies by language, for English replies of `tokens` tokens."""
        return reply_budgets(self.chat.tokenizer, languages or self.test.languages, tokens)

    def mean_lengths(self) -> dict[str, float]:
        """Return the mean maximum length of test, validation and anchor replies, in tokens."""
        settings, codes = self.settings, self.languages
        anchored = codes if settings.objective.anchors == "training" else ("en",)
        lengths = {
            "test": self.budgets(settings.evaluation.reply_tokens),
            "validation": self.budgets(settings.selection.reply_tokens, codes),
            "anchor": self.budgets(settings.objective.anchor_tokens, anchored),
        }
        return {kind: fmean(found.values()) for kind, found in lengths.items()}

    @property
    def target(self) -> LocalModel:
        """The model as a target."""
        return LocalModel(self.chat, self.settings.evaluation.batch_size, self.output / "batch_size.json")

    @property
    def facts(self) -> dict[str, str]:
        """Everything besides the settings that the result depends on."""
        facts = {
            "method": METHOD,
            "model_fingerprint": self.chat.weights,
            "corpus_sha256": self._corpus_digest(),
            "anchor_prompts": anchor_digest(),
            "model": self.chat.name,
            "judge": identity_of(self.judges.main),
            "selection_judge": identity_of(self.judges.selection),
        }
        return facts if self.requested == self.languages else facts | {"languages_asked": self.requested[0]}

    def _corpus_digest(self) -> str:
        """Hash the rows and languages that this run uses. Other rows of the corpus can change without affecting it."""
        codes = self.languages
        learned = codes
        if self.settings.training.steps and self.settings.objective.anchors == "english" and "en" not in codes:
            learned = ("en", *codes)  # the anchors are in English
        parts = (self.train.select(learned), self.validation.select(codes), self.test)
        return hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest()


def prepare(settings: Settings, output: Path | str | None, screen: Screen) -> Prepared:
    """Load what a run needs.

    Raises:
        UserError: If the corpus lacks a split or a language, a setting is wrong, or the model cannot be used. Everything
            that does not need the model is checked before it is loaded.
    """
    wanted, evaluation = settings.data, settings.evaluation
    weights = resolve_weights(settings.objective.weights)
    if settings.training.steps:
        check_weights(weights, wanted.number_to_choose or len(wanted.languages))
    settings = settings.with_section("objective", weights=weights)
    options_of_judges = judge_options(evaluation, settings.device, settings.dtype)
    judges = create_judges(
        evaluation.judge, settings.selection.judge, evaluation.other_judges, options_of_judges, screen
    )
    options = PromptOptions.of(parse_columns(wanted.columns), None, wanted.label_column, wanted.harmful)
    found = read_corpus(wanted.corpus, options, seed=settings.seed)
    for line in found.lines:
        screen.say(line)
    corpus = found.corpus
    train, validation, test = (_rows(corpus, split) for split in ("train", "validation", "test"))
    # `select` raises an error that names a language which the corpus does not have.
    if wanted.number_to_choose is None:
        train.select(wanted.languages)
        validation.select(wanted.languages)
    if settings.training.steps and settings.objective.anchors == "english":
        train.select(("en",))
    if evaluation.hard:
        test = with_hard_rows(test, corpus)
    test = test.select(evaluation.languages, evaluation.rows)
    _check_judges(judges, settings, test, screen)
    screen.title(f"Loading {settings.model}")
    chat = load_model(settings, lambda text: screen.say(f"  {text}"))
    folder = Path(output) if output is not None else default_output(settings, chat.name)
    chosen = _choose_languages(settings, chat, judges.selection, train, validation, folder, screen)
    if evaluation.languages is None:
        trained_first = sorted(test.languages, key=lambda code: code not in chosen.data.languages)
        test = test.select(tuple(trained_first[: evaluation.max_languages]))
    return Prepared(chosen, wanted.languages, chat, judges, folder, train, validation, test)


def _check_judges(judges: Judges, settings: Settings, test: Corpus, screen: Screen) -> None:
    """Check that the judges support the training languages and at least one test language."""
    codes = () if settings.data.number_to_choose else settings.data.languages
    judge = judges.main
    if unknown := judges.selection.unsupported(codes):
        raise UserError(
            f"The judge '{judges.selection.name}' does not support {_named(unknown)}, so prompts cannot be selected by replies "
            "in that language; change `data.languages`, or add the language to the judge (docs/extending.md)."
        )
    silent = judge.unsupported(test.languages)
    if len(silent) == len(test.languages):
        raise UserError(
            f"The judge '{judge.name}' does not support {_named(silent)}, so no reply could be judged; change "
            "`evaluation.languages`, or add the language to the judge (docs/extending.md)."
        )
    if silent:
        screen.say(f"The judge '{judge.name}' does not support {_named(silent)}; no rates will be shown there.")


def _named(codes: list[str]) -> str:
    return ", ".join(map(display_name, codes))


def _rows(corpus: Corpus, split: str) -> Corpus:
    part = corpus.split(split)
    if not part.rows:
        raise UserError(f"The corpus {corpus.name} has no rows in the split '{split}', which training needs.")
    return part


def _choose_languages(
    settings: Settings,
    chat: ChatModel,
    judge: Judge,
    train: Corpus,
    validation: Corpus,
    output: Path,
    screen: Screen,
) -> Settings:
    """Replace `auto:5` by the chosen languages. A resumed run keeps its languages."""
    count = settings.data.number_to_choose
    if count is None:
        return settings
    started = read_run_config(output)
    facts = started.run if started else {}
    if (facts.get("languages_asked"), facts.get("model_fingerprint")) == (settings.data.languages[0], chat.weights):
        return settings.with_section("data", languages=started.data.languages if started else ())
    unsupported = set(judge.unsupported(train.languages))
    shared = tuple(c for c in train.languages if c in validation.languages and c not in unsupported)
    screen.title(f"Choosing {count} of {len(shared)} languages by the correlation of attack features")
    with screen.progress("languages") as (tick, _):
        chosen = auto_languages(LocalModel(chat), train.select(shared), count, tick)
    named = _named(list(chosen.languages))
    screen.say(f"  {named}; mean correlation of a language with the most similar of them: {chosen.coverage:.2f}")
    if chosen.not_separable:
        screen.say(
            f"  not considered, because harmful and harmless requests are not separable: {_named(list(chosen.not_separable))}"
        )
    return settings.with_section("data", languages=chosen.languages)
