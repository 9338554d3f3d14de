"""The labelled replies that judges are made and measured with."""

from __future__ import annotations

from collections import Counter

import pytest
from sklearn.metrics import cohen_kappa_score

from babelguard.corpus import load_corpus
from babelguard.judges import Verdict
from babelguard.judges.labelled import labelled_replies

ROWS = labelled_replies()
REFUSING = (Verdict.REFUSED, Verdict.SUPPORTED)


@pytest.mark.parametrize("language", load_corpus().languages)
def test_every_language_has_enough_replies_of_both_sides_in_both_parts(language: str) -> None:
    least = 400 if language == "en" else 150
    count = Counter((row.verdict in REFUSING, row.part) for row in ROWS if row.language == language)
    assert count[True, "train"] + count[True, "held"] >= least
    assert count[False, "train"] + count[False, "held"] >= least
    assert min(count.values()) >= least // 3


def test_no_reply_helps_with_a_harmful_request() -> None:
    assert not [row.id for row in ROWS if row.label == "harmful" and row.verdict in ("answered", "partial")]


def test_the_question_does_not_tell_the_verdict() -> None:
    for part in ("train", "held"):
        harmless = [row for row in ROWS if row.part == part and row.label == "harmless"]
        harmful = [row for row in ROWS if row.part == part and row.label == "harmful"]
        assert sum(row.verdict in REFUSING for row in harmless) >= 500
        assert sum(row.verdict not in REFUSING for row in harmful) >= 100


def test_held_out_questions_and_replies_are_not_in_the_training_half() -> None:
    train = [row for row in ROWS if row.part == "train"]
    held = [row for row in ROWS if row.part == "held"]
    replies = {(row.language, row.reply) for row in train}
    same = [row.id for row in held if len(row.reply) > 20 and (row.language, row.reply) in replies]
    assert len(same) <= 0.01 * len(held)
    asked = {(row.language, row.question) for row in train if row.label == "harmful"}
    assert not [row.id for row in held if row.label == "harmful" and (row.language, row.question) in asked]


def test_there_are_many_styles_and_the_readers_agree() -> None:
    styles = Counter(row.style for row in ROWS if row.part == "held")
    assert sum(count >= 30 for count in styles.values()) >= 20
    read = [row.readers for row in ROWS if len(row.readers) == 2]
    assert len(read) >= 0.85 * len(ROWS)
    assert cohen_kappa_score(*([str(one) for one in labels] for labels in zip(*read, strict=True))) > 0.9
