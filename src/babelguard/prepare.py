"""What a run works on, before anything is done: the rows, the model, the languages, and the folder it is written to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from babelguard.analysis.auto import auto_languages
from babelguard.config import Settings
from babelguard.corpus import Corpus, load_corpus
from babelguard.errors import UserError
from babelguard.evaluation.measure import Question, questions
from babelguard.judges import RefusalJudge
from babelguard.languages import display_name
from babelguard.models.load import ChatModel, load_chat_model
from babelguard.run_folder import RunFolder, default_output
from babelguard.screen import Screen
from babelguard.target import read_json

# Raised when the same settings train another prompt than they did, so that no run goes on under another loss.
METHOD = "2"


@dataclass(frozen=True)
class Prepared:
    """A model, rows and a place.

    Attributes:
        settings: Of the run; `auto:5` is replaced by the languages chosen.
        asked: The languages as they were asked for.
        chat: The model.
        output: The run folder.
        train, validation, test: The rows of each split; those of the test are cut to what is tested.
    """

    settings: Settings
    asked: tuple[str, ...]
    chat: ChatModel
    output: Path
    train: Corpus
    validation: Corpus
    test: Corpus

    @property
    def validation_questions(self) -> list[Question]:
        """What prompts are chosen on."""
        codes = self.settings.languages
        return questions(self.validation.select(codes, self.settings.select_rows), codes, "validation")

    @property
    def test_questions(self) -> list[Question]:
        """What is reported on."""
        return questions(self.test, self.test.languages, "test")

    @property
    def facts(self) -> dict[str, str]:
        """What makes a run this one, beside its settings."""
        facts = {
            "method": METHOD,
            "model_fingerprint": self.chat.weights,
            "corpus_sha256": self._corpus_digest(),
            "model": self.chat.name,
        }
        return facts if self.asked == self.settings.languages else facts | {"languages_asked": self.asked[0]}

    def _corpus_digest(self) -> str:
        """Hash of the rows and languages that this run uses: a corpus may gain others without changing the run."""
        codes = self.settings.languages
        learned = codes
        if self.settings.steps and self.settings.anchors == "english" and "en" not in codes:
            learned = ("en", *codes)  # the anchors are asked in it
        parts = (self.train.select(learned), self.validation.select(codes), self.test)
        return hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest()


def prepare(settings: Settings, output: Path | str | None, screen: Screen) -> Prepared:
    """Load what a run needs.

    Raises:
        UserError: where the corpus lacks a split or a language, before the model is loaded; or the model cannot be used.
    """
    corpus = load_corpus(settings.corpus)
    train, validation, test = (_rows(corpus, split) for split in ("train", "validation", "test"))
    # Each names a language that the corpus does not have.
    if settings.wanted_languages is None:
        train.select(settings.languages)
        validation.select(settings.languages)
    if settings.steps and settings.anchors == "english":
        train.select(("en",))
    test = test.select(settings.test_languages, settings.limit)
    _check_judged(settings, test, screen)
    screen.title(f"Loading {settings.model}")
    chat = load_chat_model(
        settings.model,
        revision=settings.revision,
        device=settings.device,
        dtype=settings.dtype,
        trust_remote_code=settings.trust_remote_code,
        say=lambda text: screen.say(f"  {text}"),
    )
    folder = Path(output) if output is not None else default_output(settings, chat.name)
    chosen = _with_languages(settings, chat, train, validation, folder, screen)
    if settings.test_languages is None:
        trained_first = sorted(test.languages, key=lambda code: code not in chosen.languages)
        test = test.select(tuple(trained_first[: settings.limit_languages]))
    return Prepared(chosen, settings.languages, chat, folder, train, validation, test)


def _check_judged(settings: Settings, test: Corpus, screen: Screen) -> None:
    """Nothing can be chosen on replies that nobody can judge, and nothing reported."""
    judge = RefusalJudge()
    unknown = list(map(display_name, judge.unknown(() if settings.wanted_languages else settings.languages)))
    if unknown:
        raise UserError(
            f"There are no patterns of refusals in {', '.join(unknown)}, so no prompt can be chosen by the replies there; "
            "train on other languages (--languages), or add patterns as docs/extending.md says."
        )
    silent = list(map(display_name, judge.unknown(test.languages)))
    if len(silent) == len(test.languages):
        raise UserError(
            f"There are no patterns of refusals in {', '.join(silent)}, so no reply could be judged; test other languages "
            "(--test-languages), or add patterns as docs/extending.md says."
        )
    if silent:
        screen.say(f"No rates will be shown for {', '.join(silent)}: there are no patterns of refusals in them.")


def _rows(corpus: Corpus, split: str) -> Corpus:
    part = corpus.split(split)
    if not part.rows:
        raise UserError(f"The corpus {corpus.name} has no rows of the split '{split}', which this job needs.")
    return part


def _with_languages(
    settings: Settings, chat: ChatModel, train: Corpus, validation: Corpus, output: Path, screen: Screen
) -> Settings:
    """The settings with `auto:5` replaced by the languages chosen: those of the run, if it was begun already."""
    count = settings.wanted_languages
    if count is None:
        return settings
    begun = read_json(RunFolder(output).settings_file)
    if (begun.get("languages_asked"), begun.get("model_fingerprint")) == (settings.languages[0], chat.weights):
        return settings.model_copy(update={"languages": tuple(begun["languages"])})
    judged = RefusalJudge().languages
    shared = tuple(code for code in train.languages if code in validation.languages and code in judged)
    screen.title(f"Choosing {count} of {len(shared)} languages by how alike attacks look to the model")
    with screen.progress("languages") as (tick, _):
        chosen = auto_languages(chat, train.select(shared), count, tick)
    named = ", ".join(display_name(code) for code in chosen.languages)
    screen.say(f"  {named}; mean correlation of a language with the nearest of them {chosen.coverage:.2f}")
    if chosen.blind:
        passed = ", ".join(map(display_name, chosen.blind))
        screen.say(f"  passed over, since the model hardly sees harm in them: {passed}")
    return settings.model_copy(update={"languages": chosen.languages})
