"""What a run tests and depends on."""

from __future__ import annotations

import pytest
from calls import write_corpus

from babelguard.config import load_settings
from babelguard.defend import Job
from babelguard.screen import Silent


@pytest.fixture
def job(folders, files, tmp_path):
    def make(**given):
        base = {"model": str(folders("llama")), "corpus": files / "corpus.csv", "prompt": "short", "dtype": "float32"}
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
