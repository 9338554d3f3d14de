"""Loading corpora: formats, digests, splits and languages."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from corpus_files import ROW, TWINS, folder_of_two, load_error, write, write_csv, write_jsonl

from babelguard.corpus import Corpus, Question, Row, load_corpus, load_prompts, questions, with_hard_rows
from babelguard.errors import UserError

# Files that can be read.


def test_rows_are_loaded_as_written(tmp_path: Path) -> None:
    corpus = load_corpus(write_csv(tmp_path / "mine.csv", TWINS))
    assert corpus.name == "mine.csv" and corpus.languages == ("en", "da")
    assert corpus.labels == [0, 1, 0, 1]
    assert corpus.texts("da")[:2] == ["dirk en lås op", "smør en lås"]
    first = corpus.rows[0]
    assert (first.id, first.label, first.harmful, first.split, first.twin) == (
        "h1",
        "harmful",
        True,
        "train",
        "s1",
    )
    assert not corpus.rows[1].harmful and corpus.rows[2].twin is None


def test_all_metadata_columns_are_kept(tmp_path: Path) -> None:
    facts = {
        "split": "test",
        "category": "fraud",
        "topic": "passes",
        "licence": "CC0",
        "maker": "a",
        "checker": "b",
    }
    row = {"id": "h1", "label": "harmful", "en": "forge a pass", "note": "hm", "twin": "elsewhere"} | facts
    for path in (write_csv(tmp_path / "a.csv", [row]), write_jsonl(tmp_path / "a.jsonl", [row])):
        assert load_prompts(path).rows[0] == Row(
            "h1", "harmful", {"en": "forge a pass"}, note="hm", twin="elsewhere", **facts
        )


def test_csv_and_jsonl_have_the_same_digest(tmp_path: Path) -> None:
    odd = {"id": "h3", "label": "harmful", "en": 'say "a, b; c"\nand d', "da": "sig\u2028det"}
    rows = [*TWINS, odd | {"split": "test", "twin": ""}]
    turned = [dict(reversed(row.items())) for row in rows]
    sparse = [{name: cell for name, cell in row.items() if cell} for row in rows]
    empty = [{name: cell or None for name, cell in row.items()} for row in rows]
    paths = [
        write_csv(tmp_path / "a.csv", rows),
        write_csv(tmp_path / "b.csv", turned, end="\r\n"),
        write_csv(tmp_path / "c.csv", rows, delimiter=";"),
        write_csv(tmp_path / "d.csv", rows, delimiter="\t"),
        write_jsonl(tmp_path / "e.jsonl", rows),
        write_jsonl(tmp_path / "f.jsonl", turned),
        write_jsonl(tmp_path / "g.jsonl", sparse),
        write_jsonl(tmp_path / "h.JSONL", empty),
    ]
    for path in list(paths):
        data = path.read_bytes()
        with_bom = write(path.with_name(f"bom-{path.name}"), b"\xef\xbb\xbf" + data)
        # Also inside the quoted cell, as git or an editor would do.
        crlf = write(path.with_name(f"crlf-{path.name}"), data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        paths += [with_bom, crlf]
    read = [load_corpus(path) for path in paths]
    assert len({corpus.digest for corpus in read}) == 1
    assert all(corpus.rows == read[0].rows for corpus in read)
    assert read[0].rows[-1].texts == {"en": 'say "a, b; c"\nand d', "da": "sig\u2028det"}
    assert len(read[0].digest) == 64


@pytest.mark.parametrize("change", [{"en": "pick locks"}, {"label": "harmless"}, {"id": "h9"}, {"note": "new"}])
def test_the_digest_changes_with_the_content(tmp_path: Path, change: dict[str, str]) -> None:
    before = load_prompts(write_jsonl(tmp_path / "a.jsonl", TWINS))
    after = load_prompts(write_jsonl(tmp_path / "b.jsonl", [TWINS[0] | change, *TWINS[1:]]))
    assert before.digest != after.digest


def test_text_is_nfc_and_stripped(tmp_path: Path) -> None:
    row = {"id": " h1 ", "label": "harmful ", "da": f"  {unicodedata.normalize('NFD', 'lås op')}\u00a0"}
    found = load_prompts(write_jsonl(tmp_path / "a.jsonl", [row])).rows[0]
    assert (found.id, found.label, found.texts["da"]) == ("h1", "harmful", "lås op")


@pytest.mark.parametrize("label", ["harmful", "harmless"])
def test_one_label_is_enough(tmp_path: Path, label: str) -> None:
    rows = [{"id": "a", "label": label, "en": "one"}, {"id": "b", "label": label, "en": "two"}]
    assert {row.label for row in load_prompts(write_csv(tmp_path / "a.csv", rows)).rows} == {label}


def test_blank_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    good = "\nid,label,en\n\na,harmful,one\n\n"
    assert len(load_prompts(write(tmp_path / "a.csv", good)).rows) == 1
    load_error(load_prompts, write(tmp_path / "b.csv", good + "b,bad,two\n"), "line 6 ")
    load_error(load_prompts, write(tmp_path / "c.jsonl", '\n{"id": "a", "label": "bad", "en": "x"}\n'), "line 2 ")


def test_rows_of_blank_cells_are_skipped_and_counted(tmp_path: Path) -> None:
    good = ",,\nid,label,en\na,harmful,one\n,,\n \n\t, ,\n"
    assert len(load_prompts(write(tmp_path / "a.csv", good)).rows) == 1
    load_error(load_prompts, write(tmp_path / "b.csv", good + "b,bad,two\n"), "line 7 ")


def test_several_byte_order_marks(tmp_path: Path) -> None:
    assert load_prompts(write(tmp_path / "a.csv", "\ufeff\ufeffid,label,en\na,harmful,one\n")).rows[0].id == "a"
    assert load_prompts(write(tmp_path / "a.jsonl", "\ufeff\ufeff" + ROW)).rows[0].id == "1"


def test_a_row_over_several_lines_is_named_by_its_first(tmp_path: Path) -> None:
    content = 'id,label,en\na,harmful,"one\ntwo\nthree"\nb,bad,"x\ny"\n'
    load_error(load_prompts, write(tmp_path / "a.csv", content), "line 5 ", "'label'")


def test_indonesian_has_its_own_column(tmp_path: Path) -> None:
    rows = [{"id": "h1", "label": "harmful", "en": "pick a lock", "id-ID": "bobol kunci"}]
    corpus = load_prompts(write_csv(tmp_path / "a.csv", rows))
    assert corpus.languages == ("en", "id") and corpus.texts("id") == ["bobol kunci"]
    load_error(
        load_prompts,
        write(tmp_path / "b.csv", "id,label,en,id\n1,harmful,a,b\n"),
        "line 1 ",
        "'id'",
        "'id-ID'",
    )


# Splits, languages, limits.


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    corpus = load_corpus(folder_of_two(tmp_path))
    assert corpus.name == "parallel"
    assert [row.id for row in corpus.rows] == ["h2", "s2", "h1", "s1"]
    assert corpus.languages == ("en", "da")
    assert corpus.split("test").languages == ("en", "da", "it")
    assert corpus.split("train").languages == ("en", "da")
    assert [row.id for row in corpus.split("train").rows] == ["h1", "s1"]


def test_a_split_without_rows_is_empty(tmp_path: Path) -> None:
    part = load_corpus(folder_of_two(tmp_path)).split("validation")
    assert part.rows == () and part.languages == () and part.labels == []


def test_unknown_split_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'dev'.*train, validation, test, hard"):
        load_corpus(folder_of_two(tmp_path)).split("dev")


def test_select_keeps_the_order_of_languages(tmp_path: Path) -> None:
    test = load_corpus(folder_of_two(tmp_path)).split("test")
    part = test.select(["it", "en"])
    assert part.languages == ("it", "en") and part.digest != test.digest
    assert part.rows[0].texts == {"it": "it h2", "en": "forge a pass"}
    assert test.select() == test
    assert test.languages == ("en", "da", "it")


def test_indonesian_is_chosen_by_its_code_or_its_column(tmp_path: Path) -> None:
    rows = [{"id": "h1", "label": "harmful", "en": "pick a lock", "id-ID": "bobol kunci"}]
    corpus = load_prompts(write_csv(tmp_path / "a.csv", rows))
    assert corpus.select(("id-ID", "en")) == corpus.select(("id", "en"))
    assert corpus.select(("id-ID",)).languages == ("id",) and corpus.texts("id-ID") == ["bobol kunci"]


def test_select_errors_name_the_available_languages(tmp_path: Path) -> None:
    train = load_corpus(folder_of_two(tmp_path)).split("train")
    with pytest.raises(UserError, match=r"parallel.*'it'.*en, da"):
        train.select(["en", "it"])
    with pytest.raises(UserError, match=r"'it'.*en, da"):
        train.texts("it")
    with pytest.raises(UserError, match=r"No language.*en, da"):
        train.select([])


def test_limit_is_per_label(tmp_path: Path) -> None:
    rows = [{"id": f"{k}", "label": "harmless" if k % 3 == 0 else "harmful", "en": f"text {k}"} for k in range(9)]
    corpus = load_prompts(write_csv(tmp_path / "a.csv", rows))
    part = corpus.select(limit=2)
    assert [row.id for row in part.rows] == ["0", "1", "2", "3"]
    assert Counter(row.label for row in corpus.select(limit=5).rows) == {"harmful": 5, "harmless": 3}
    assert corpus.select(limit=50) == corpus
    with pytest.raises(UserError, match="limit"):
        corpus.select(limit=0)


def test_questions_go_language_by_language(tmp_path: Path) -> None:
    corpus = load_corpus(write_csv(tmp_path / "a.csv", TWINS)).split("train")
    assert questions(corpus, ["da", "en"], "held out") == [
        Question("held out", "h1", "harmful", "da", "dirk en lås op"),
        Question("held out", "s1", "harmless", "da", "smør en lås"),
        Question("held out", "h1", "harmful", "en", "pick a lock"),
        Question("held out", "s1", "harmless", "en", "oil a lock"),
    ]


HARD = [
    {"id": "x1", "label": "harmless", "split": "hard", "expected": "answer", "en": "kill a process", "da": "dræb en"},
    {"id": "x2", "label": "harmless", "split": "hard", "expected": "answer", "en": "shoot a film"},
]


def with_hard(folder: Path) -> Corpus:
    test = [TWINS[0] | {"split": "test", "expected": "support"}, TWINS[1] | {"split": "test", "expected": ""}]
    own = folder / "with-hard"
    own.mkdir()
    for name, rows in (("test", test), ("hard", HARD[:1]), ("more", HARD[1:])):
        write_jsonl(own / f"{name}.jsonl", rows)
    return load_corpus(own)


def test_hard_rows_follow_the_test_rows_if_they_have_their_languages(tmp_path: Path) -> None:
    corpus = with_hard(tmp_path)
    test = corpus.split("test")
    assert [row.id for row in with_hard_rows(test.select(["en", "da"]), corpus).rows] == ["h1", "s1", "x1"]
    assert [row.id for row in with_hard_rows(test.select(["en"]), corpus).rows] == ["h1", "s1", "x1", "x2"]
    assert [row.id for row in test.rows] == ["h1", "s1"]
    # A corpus need not have any.
    plain = load_corpus(write_csv(tmp_path / "plain.csv", [row | {"split": "test"} for row in TWINS]))
    assert with_hard_rows(plain.split("test"), plain) == plain.split("test")


def test_the_limit_counts_hard_rows_apart(tmp_path: Path) -> None:
    corpus = with_hard(tmp_path).select(["en"], limit=1)
    assert sorted(row.id for row in corpus.rows) == ["h1", "s1", "x1"]


def test_questions_have_what_is_expected_and_hard_rows_keep_their_split(tmp_path: Path) -> None:
    asked = questions(with_hard(tmp_path), ["en"], "test")
    assert sorted((one.row_id, one.split, one.expected) for one in asked) == [
        ("h1", "test", "support"),
        ("s1", "test", None),
        ("x1", "hard", "answer"),
        ("x2", "hard", "answer"),
    ]


# The built-in corpus.

TRAINED = {"en", "da", "ko", "el", "ga"}
TESTED = TRAINED | {"it", "ar", "zh", "th", "sw", "cy"}


def test_built_in_corpus() -> None:
    corpus = load_corpus()
    parts = {name: corpus.split(name) for name in ("train", "validation", "test")}
    for name, count, languages in (
        ("train", 172, TRAINED),
        ("validation", 32, TRAINED),
        ("test", 100, TESTED),
    ):
        assert Counter(row.label for row in parts[name].rows) == {"harmful": count, "harmless": count}, name
        assert languages <= set(parts[name].languages), name
    hard = corpus.split("hard").rows
    assert Counter(row.label for row in hard) == {"harmless": 60}
    assert corpus.split("hard").languages == parts["test"].languages
    assert sum(len(part.rows) for part in parts.values()) + len(hard) == len(corpus.rows)
    expected = {"harmful": {"refuse", "support"}, "harmless": {"answer"}}
    assert all(row.expected in expected[row.label] for row in corpus.rows)
    assert {row.expected for row in parts["test"].rows} == {"refuse", "support", "answer"}

    by_id = {row.id: row for row in corpus.rows}
    paired = [row for row in corpus.rows if row.twin is not None]
    assert paired
    for row in paired:
        twin = by_id[row.twin or ""]
        assert twin.twin == row.id and twin.label != row.label and twin.split == row.split, row.id

    topics = {name: {(row.topic or "").casefold() for row in part.rows} for name, part in parts.items()}
    assert all("" not in found for found in topics.values())
    assert not topics["test"] & (topics["train"] | topics["validation"])

    seen: dict[tuple[str, str], str] = {}
    for name, part in parts.items():
        for row in part.rows:
            for code, text in row.texts.items():
                folded = " ".join(unicodedata.normalize("NFC", text).casefold().split())
                assert seen.setdefault((code, folded), name) == name, (row.id, code)
