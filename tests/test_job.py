"""What a run is tested on, what its identity depends on, and its plan."""

from __future__ import annotations

import os

import pytest
from calls import judge_bytes, write_corpus

from babelguard.analysis.auto import ChosenLanguages
from babelguard.config import load_settings
from babelguard.defences.written import WRITTEN_PROMPTS
from babelguard.errors import UserError
from babelguard.files import write_text
from babelguard.jobs.defend import Defend
from babelguard.judges import Judgement, Verdict
from babelguard.judges.patterns import PatternJudge
from babelguard.screen import Silent


@pytest.fixture
def job(folders, files, tmp_path):
    def make(family="llama", **given):
        base = {"model": str(folders(family)), "corpus": files / "corpus.csv", "prompt": "short", "dtype": "float32"}
        base |= {"judge": "patterns", "selection.judge": "patterns", "evaluation.other_judges": ()}
        return Defend(load_settings(base | {"languages": ("da", "ko")} | given), tmp_path / "run", Silent())

    return make


def test_training_languages_are_tested_first(job):
    assert job(**{"evaluation.max_languages": 2}).prepared.test.languages == ("da", "ko")
    assert job(**{"evaluation.max_languages": 3}).prepared.test.languages == ("da", "ko", "en")
    assert job(**{"evaluation.max_languages": 1}, test_languages=("ko", "en")).prepared.test.languages == ("ko", "en")


@pytest.mark.parametrize(("hard", "count"), [(True, 6), (False, 4)])
def test_hard_rows_are_tested_unless_they_are_turned_off(job, hard, count):
    given = {"corpus": None, "languages": ("en", "da"), "test_languages": ("en",), "limit": 2, "evaluation.hard": hard}
    rows = job(**given).prepared.test.rows
    assert len(rows) == count
    assert {row.split for row in rows} == ({"test", "hard"} if hard else {"test"})


def test_a_run_depends_only_on_the_rows_it_uses(job, tmp_path):
    used = {"test_languages": ("da", "ko")}
    fewer = write_corpus(tmp_path / "fewer.csv", ("da", "ko"))
    whole = job(**used).prepared.facts["corpus_sha256"]
    assert job(corpus=fewer, **used).prepared.facts["corpus_sha256"] == whole
    assert job().prepared.facts["corpus_sha256"] != whole  # English is tested as well
    changed = tmp_path / "changed.csv"
    changed.write_text(fewer.read_text().replace("Forklar mig train-harmful-0", "Fortæl mig train-harmful-0"))
    assert job(corpus=changed, **used).prepared.facts["corpus_sha256"] != whole


def test_training_starts_from_the_baseline_or_the_given_prompt(job):
    assert job(preset="mcd-paper", prompt="short").start_text == WRITTEN_PROMPTS["short"]
    assert job(preset="quick", prompt="short").start_text == WRITTEN_PROMPTS["medium"]
    assert job(prompt="short").start_text == WRITTEN_PROMPTS["long"]  # the preset names it
    assert job(prompt="short", steps=0).start_text == WRITTEN_PROMPTS["short"]
    apart = job(prompt="short", start="Be kind.")
    assert (apart.start_text, "Be kind." in apart.written_text) == ("Be kind.", False)


SMALL = {
    "steps": 2,
    "training.batch_size": 4,
    "objective.anchor_rows": 4,
    "objective.anchor_tokens": 4,
    "evaluation.reply_tokens": 4,
    "selection.rows": 32,  # the corpus has only two
    "limit": 1,
}
UNTRAINED = {"steps": 0, "limit": 1, "evaluation.reply_tokens": 4}


def test_the_plan_counts_existing_rows(job, monkeypatch):
    monkeypatch.setattr(PatternJudge, "judge", judge_bytes)
    planned = job(**SMALL).estimate()
    # Two rows per label and language, before the first step and after the last one.
    assert planned.validation_replies == 2 * 2 * 2 * 2
    assert planned.anchor_replies == 4 * 2 * 2 * 4


def test_first_tokens_get_the_logit_scale_and_no_end_tokens(job, monkeypatch):
    monkeypatch.setattr(PatternJudge, "judge", judge_bytes)
    given = {}

    def record(*_, **named):
        given.update(named)

    monkeypatch.setattr("babelguard.jobs.learn.first_tokens", record)
    made = job("granite", **(SMALL | {"objective.weights": {"refusal": 1.0, "behaviour": 4.0}}))
    made.run()
    assert given["scale"] == pytest.approx(1 / 4)
    assert made.chat.stop_ids
    assert {*made.chat.stop_ids, *made.slot.token_ids} <= set(given["banned"])


def test_a_run_of_another_method_is_another_run(job, monkeypatch):
    job(**UNTRAINED).run()
    monkeypatch.setattr("babelguard.jobs.prepare.METHOD", "another")
    with pytest.raises(UserError, match="contains another run \\(method was"):
        job(**UNTRAINED).run()


def test_languages_that_the_judge_does_not_support_are_not_chosen(job, tmp_path, monkeypatch):
    asked = []

    def choose(model, train, count, tick):
        asked.extend(train.languages)
        return ChosenLanguages(("en", "da"), 0.5, ())

    monkeypatch.setattr("babelguard.jobs.prepare.auto_languages", choose)
    corpus = write_corpus(tmp_path / "wide.csv", ("en", "da", "cs"))
    assert job(corpus=corpus, languages=("auto:2",)).settings.data.languages == ("en", "da")
    assert asked == ["en", "da"]


def test_a_run_without_rates_has_a_report_but_no_picture(job, monkeypatch):
    monkeypatch.setattr(PatternJudge, "judge", lambda _, given: [Judgement(Verdict.UNSCORED, "?") for _ in given])
    made = job(**UNTRAINED)
    made.run()
    assert "no rate" in (made.prepared.output / "report.md").read_text()
    assert not (made.prepared.output / "outcomes.png").exists()


def test_a_draft_is_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    real = os.replace
    monkeypatch.setattr("babelguard.files.writing.os.fsync", lambda handle: done.append("fsync"))
    monkeypatch.setattr("babelguard.files.writing.os.replace", lambda *given: (done.append("replace"), real(*given)))
    write_text(tmp_path / "file.txt", "words")
    assert done == ["fsync", "replace"]
