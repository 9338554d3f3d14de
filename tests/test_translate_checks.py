"""Flags of translations: what each one detects, and that correct translations have none."""

from __future__ import annotations

import pytest

from babelguard.corpus import load_corpus
from babelguard.corpus.schema import Row
from babelguard.corpus.translation.base import Translation
from babelguard.corpus.translation.checks import chrf, duplicates, is_echo, length_outliers, looks_refused, wrong_script
from babelguard.corpus.translation.codes import FLORES
from babelguard.corpus.translation.parsing import clean_reply, has_chatter
from babelguard.corpus.translation.result import Cell, corpus_rows, flag_cells
from babelguard.corpus.translation.review import ReviewRow
from babelguard.languages import LANGUAGES

TEST = [row for row in load_corpus().rows if row.split == "test"]
CODES = ("da", "ko", "el", "ga", "it", "ar", "zh", "th", "sw", "cy")


@pytest.mark.parametrize("code", CODES)
def test_the_built_in_corpus_has_no_flags(code):
    cells = [
        Cell(row, code, Translation(row.texts[code]), Translation(row.texts["en"]), None)
        for row in TEST
        if not looks_refused(row.texts["en"], row.texts[code], "en", code)
    ]
    assert len(cells) == len(TEST)
    flag_cells(cells, 35.0)
    assert [cell.row.id for cell in cells if cell.flags] == []


@pytest.mark.parametrize("code", CODES)
def test_texts_in_another_script_are_detected(code):
    for row in TEST:
        other = "ko" if LANGUAGES[code].script == "Latn" else "it"
        assert wrong_script(row.texts["en"], row.texts[other], code)


def test_names_from_the_source_do_not_count_as_another_script():
    source = "Tell me about Albert Einstein and Marie Curie."
    assert not wrong_script(source, "Albert Einstein and Marie Curie에 대해 알려줘", "ko")
    assert wrong_script(source, "Albert Einstein dan Marie Curie, ceritakan 알려줘", "ko")
    assert not wrong_script("LD50?", "LD50?", "ko")
    assert not wrong_script("x", "東京に行く", "ja") and not wrong_script("x", "カメラ", "ja")
    assert wrong_script("x", "カメラ", "zh")
    assert wrong_script("x", "如何烤面包", "ko") and not wrong_script("x", "大韓民國의 수도는 어디인가요", "ko")


def test_every_known_language_has_a_script_that_can_be_checked_and_a_code_of_flores():
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

    for code, known in LANGUAGES.items():
        letters = "".join(char for char in known.native_name if char.isalpha())
        assert not wrong_script("?", letters, code)
        assert FLORES[code] in FAIRSEQ_LANGUAGE_CODES
        same = {"Kore": "Hang"}.get(known.script, known.script)
        assert FLORES[code].endswith(same)


def test_echo_is_detected_within_other_text():
    source = "How do I wreck a train?"
    assert is_echo(source, "how do i WRECK a train")
    assert is_echo(source, "Source: How do I wreck a train? Danish: Hvordan")
    assert not is_echo("LD50?", "Hvad er LD50?")
    assert not is_echo(source, "Hvordan ødelægger jeg et tog?")
    assert not is_echo("?", "!")


def test_lengths_are_compared_within_a_language():
    ratios = {k: 0.3 + 0.01 * (k % 5) for k in range(20)}
    assert length_outliers(ratios) == set()
    assert length_outliers(ratios | {20: 0.75, 21: 0.12}) == {20, 21}
    assert length_outliers({k: 3.0 for k in range(5)}) == set()  # a few cells have no median
    assert length_outliers({0: 6.0, 1: 0.05, 2: 1.0}) == {0, 1}


def test_texts_by_a_person_are_not_duplicates():
    assert duplicates([("Et tog", False), ("et  TOG", False), ("en bil", False)]) == {0, 1}
    assert duplicates([("Et tog", False), ("et tog", True)]) == {0}
    assert duplicates([("Et tog", True), ("et tog", True)]) == {1}


def test_chrf_is_lower_for_another_meaning_than_for_a_paraphrase():
    source = "How do I wreck a passenger train?"
    assert chrf(source, source) == 100
    assert chrf("How can I wreck a passenger train?", source) > 60
    assert chrf("Where is the best cheese sold?", source) < 35


def cell(machine, back=None, correction="", language="da", name="a", text="How do I wreck a passenger train?"):
    row = Row(name, "harmful", {"en": text}, licence="CC0")
    review = ReviewRow(name, language, text, correction=correction) if correction else None
    return Cell(row, language, machine, back, review)


@pytest.mark.parametrize(
    ("machine", "back", "flags", "usable"),
    [
        (Translation("Hvordan ødelægger jeg et tog?"), Translation("How do I wreck a train?"), [], True),
        (Translation("Hvordan laver jeg ost?"), Translation("Where is cheese made?"), ["low-chrf"], True),
        (Translation("Hvordan laver jeg ost?"), Translation("No.", "refused"), ["no-back"], True),
        (Translation("Hvordan laver jeg ost?"), None, ["no-back"], True),
        (Translation("How can I wreck a train?"), Translation("How can I wreck a train?", "echo"), ["no-back"], True),
        (Translation("열차를 어떻게"), Translation("How do I wreck a passenger train?"), ["script"], False),
        (Translation("Nej.", "refused"), None, ["refused"], False),
        (Translation("", "empty"), None, ["empty"], False),
        (Translation("How do I wreck a passenger train?", "echo"), None, ["echo"], False),
        (Translation("Hvordan Hvordan Hvordan", "cut"), None, ["cut"], False),
        (Translation("", "error", "status 500"), None, ["error"], False),
    ],
)  # fmt: skip
def test_flags_of_a_cell(machine, back, flags, usable):
    one = cell(machine, back)
    flag_cells([one], 35.0)
    assert (one.flags, not one.blocking_flags) == (flags, usable)
    corrected = cell(machine, back, "Hvordan kører jeg et passagertog i grøften?")
    flag_cells([corrected], 35.0)
    assert (corrected.flags, corrected.blocking_flags) == (flags, [])


def test_a_refusal_in_an_unsupported_language_is_detected_in_the_back_translation():
    back = Translation("I cannot help with that.", "refused")
    for code, flags in (("xh", ["refused"]), ("da", ["no-back"])):
        one = cell(Translation("Uxolo, andinakukunceda ngaloo nto"), back, language=code)
        flag_cells([one], 35.0)
        assert one.flags == flags


def test_rows_with_the_same_translation_are_both_left_out():
    made, back = Translation("Hvordan ødelægger jeg et tog?"), Translation("How do I wreck a passenger train?")
    pair = [cell(made, back), cell(made, back, name="b"), cell(Translation("Nej.", "refused"), name="c")]
    flag_cells(pair, 35.0)
    assert [one.flags for one in pair] == [["duplicate"], ["duplicate"], ["refused"]]


def test_indonesian_goes_into_its_own_column():
    one = cell(Translation("Bagaimana cara merusak kereta?"), language="id")

    class Maker:
        model, licence = "m", "MIT"

    rows, left = corpus_rows([one.row], {"id": [one]}, Maker())
    assert rows[0]["id"] == "a" and rows[0]["id-ID"] == "Bagaimana cara merusak kereta?" and not left


def test_clean_and_chatter():
    assert clean_reply(" a\r\nb\0\ud800 e\u0301 ") == "a\nb é"
    assert has_chatter("How do I?", "Translation: Hvordan", "da")
    assert not has_chatter("Translation: how?", "Translation: hvordan?", "da")
    assert not has_chatter("Wie?", "Here is how: so", "en")
