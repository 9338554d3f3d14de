"""What a run tests and depends on."""

from __future__ import annotations

import os

import pytest
from calls import judge_bytes, write_corpus

from babelguard.analysis.auto import Chosen
from babelguard.config.settings import load_settings
from babelguard.jobs.defend import Job
from babelguard.errors import UserError
from babelguard.judges import RefusalJudge
from babelguard.judges.patterns import Judgement, Verdict
from babelguard.jobs.run_folder import write_text
from babelguard.screen import Silent


@pytest.fixture
def job(folders, files, tmp_path):
    def make(family="llama", **given):
        base = {"model": str(folders(family)), "corpus": files / "corpus.csv", "prompt": "short", "dtype": "float32"}
        return Job(load_settings(base | {"languages": ("da", "ko")} | given), tmp_path / "run", Silent())

    return make


def test_languages_trained_on_are_tested_first(job):
    assert job(limit_languages=2).on.test.languages == ("da", "ko")
    assert job(limit_languages=3).on.test.languages == ("da", "ko", "en")
    assert job(limit_languages=1, test_languages=("ko", "en")).on.test.languages == ("ko", "en")


def test_a_run_depends_on_the_rows_it_uses_and_no_others(job, tmp_path):
    used = {"test_languages": ("da", "ko")}
    fewer = write_corpus(tmp_path / "fewer.csv", ("da", "ko"))
    whole = job(**used).on.facts["corpus_sha256"]
    assert job(corpus=fewer, **used).on.facts["corpus_sha256"] == whole
    assert job().on.facts["corpus_sha256"] != whole  # English is tested as well
    changed = tmp_path / "changed.csv"
    changed.write_text(fewer.read_text().replace("Forklar mig train-harmful-0", "Fortæl mig train-harmful-0"))
    assert job(corpus=changed, **used).on.facts["corpus_sha256"] != whole


def test_the_start_of_training_is_not_the_baseline(job):
    assert job(prompt="best").start_text != job(prompt="short").start_text
    apart = job(prompt="short", start="Be kind.")
    assert (apart.start_text, "Be kind." in apart.written_text) == ("Be kind.", False)


SMALL = {
    "steps": 2,
    "train_batch": 4,
    "anchor_rows": 4,
    "anchor_tokens": 4,
    "reply_tokens": 4,
    "select_rows": 32,  # more than the two that the corpus has
    "limit": 1,
}


def test_the_plan_counts_the_rows_that_there_are(job, monkeypatch):
    monkeypatch.setattr(RefusalJudge, "judge", judge_bytes)
    planned = job(**SMALL)
    # Two rows a label and language, before the first step and after the last.
    assert planned.costs.validation_replies == 2 * 2 * 2 * 2
    assert planned.costs.anchor_replies == 4 * 2 * 2 * 4


def test_openings_get_the_scale_of_the_logits_and_no_word_that_ends_a_reply(job, monkeypatch):
    monkeypatch.setattr(RefusalJudge, "judge", judge_bytes)
    given = {}

    def look(*_, **named):
        given.update(named)

    monkeypatch.setattr("babelguard.jobs.learn.first_tokens", look)
    made = job("granite", **SMALL)
    made.run()
    assert given["scale"] == pytest.approx(1 / 4)
    assert made.chat.stop_ids
    assert {*made.chat.stop_ids, *made.slot.token_ids} <= set(given["banned"])


def test_a_run_of_another_method_is_another_run(job, monkeypatch):
    job(steps=0, limit=1, reply_tokens=4).run()
    monkeypatch.setattr("babelguard.jobs.prepare.METHOD", "another")
    with pytest.raises(UserError, match="holds another run \\(method was"):
        job(steps=0, limit=1, reply_tokens=4).run()


def test_languages_that_nobody_can_judge_are_not_chosen(job, tmp_path, monkeypatch):
    asked = []

    def choose(chat, train, count, tick):
        asked.extend(train.languages)
        return Chosen(("en", "da"), 0.5, ())

    monkeypatch.setattr("babelguard.jobs.prepare.auto_languages", choose)
    corpus = write_corpus(tmp_path / "wide.csv", ("en", "da", "cs"))
    assert job(corpus=corpus, languages=("auto:2",)).settings.languages == ("en", "da")
    assert asked == ["en", "da"]


def test_a_run_without_any_rate_has_a_report_and_no_picture(job, monkeypatch):
    monkeypatch.setattr(RefusalJudge, "judge", lambda *_, **__: Judgement(Verdict.UNSCORED, "nobody knows"))
    made = job(steps=0, limit=1, reply_tokens=4)
    made.run()
    assert "no rate" in (made.on.output / "report.md").read_text()
    assert not (made.on.output / "outcomes.png").exists()


def test_a_draft_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    done = []
    real = os.replace
    monkeypatch.setattr("babelguard.jobs.run_folder.os.fsync", lambda handle: done.append("fsync"))
    monkeypatch.setattr("babelguard.jobs.run_folder.os.replace", lambda *given: (done.append("replace"), real(*given)))
    write_text(tmp_path / "file.txt", "words")
    assert done == ["fsync", "replace"]
