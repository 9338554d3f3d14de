"""Reading corpora: formats, splits, digests, and one sentence with file, line and field for every mistake."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from babelguard.corpus import Corpus, Row, load_corpus, load_prompts
from babelguard.errors import UserError

Rows = list[dict[str, Any]]

TWINS: Rows = [
    {
        "id": "h1",
        "label": "harmful",
        "en": "pick a lock",
        "da": "dirk en lås op",
        "split": "train",
        "twin": "s1",
    },
    {
        "id": "s1",
        "label": "harmless",
        "en": "oil a lock",
        "da": "smør en lås",
        "split": "train",
        "twin": "h1",
    },
    {
        "id": "h2",
        "label": "harmful",
        "en": "forge a pass",
        "da": "forfalsk et pas",
        "split": "test",
        "twin": "",
    },
    {
        "id": "s2",
        "label": "harmless",
        "en": "renew a pass",
        "da": "forny et pas",
        "split": "test",
        "twin": "",
    },
]


def write_csv(path: Path, rows: Rows, delimiter: str = ",", end: str = "\n") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(call: Callable[[Path], Corpus], path: Path, *needed: str) -> str:
    """The sentence with which a file is refused; it names the file and the needed parts."""
    with pytest.raises(UserError) as caught:
        call(path)
    sentence = str(caught.value)
    for part in (str(path), *needed):
        assert part in sentence
    assert "\n" not in sentence and sentence[-1] in ".?"
    return sentence


# What is read.


def test_rows_come_out_as_written(tmp_path: Path) -> None:
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
        # Also inside the quoted cell, as git or an editor does it.
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
    refusal(load_prompts, write(tmp_path / "b.csv", good + "b,bad,two\n"), "line 6 ")
    refusal(load_prompts, write(tmp_path / "c.jsonl", '\n{"id": "a", "label": "bad", "en": "x"}\n'), "line 2 ")


def test_rows_of_blank_cells_are_skipped_and_counted(tmp_path: Path) -> None:
    good = ",,\nid,label,en\na,harmful,one\n,,\n \n\t, ,\n"
    assert len(load_prompts(write(tmp_path / "a.csv", good)).rows) == 1
    refusal(load_prompts, write(tmp_path / "b.csv", good + "b,bad,two\n"), "line 7 ")


def test_several_byte_order_marks(tmp_path: Path) -> None:
    assert load_prompts(write(tmp_path / "a.csv", "\ufeff\ufeffid,label,en\na,harmful,one\n")).rows[0].id == "a"
    assert load_prompts(write(tmp_path / "a.jsonl", "\ufeff\ufeff" + ROW)).rows[0].id == "1"


def test_a_row_over_several_lines_is_named_by_its_first(tmp_path: Path) -> None:
    content = 'id,label,en\na,harmful,"one\ntwo\nthree"\nb,bad,"x\ny"\n'
    refusal(load_prompts, write(tmp_path / "a.csv", content), "line 5 ", "'label'")


def test_indonesian_has_a_column_beside_the_id(tmp_path: Path) -> None:
    rows = [{"id": "h1", "label": "harmful", "en": "pick a lock", "id-ID": "bobol kunci"}]
    corpus = load_prompts(write_csv(tmp_path / "a.csv", rows))
    assert corpus.languages == ("en", "id") and corpus.texts("id") == ["bobol kunci"]
    refusal(
        load_prompts,
        write(tmp_path / "b.csv", "id,label,en,id\n1,harmful,a,b\n"),
        "line 1 ",
        "'id'",
        "'id-ID'",
    )


# Splits, languages, limits.


def folder_of_two(tmp_path: Path) -> Path:
    folder = tmp_path / "parallel"
    folder.mkdir()
    train = [{k: v for k, v in row.items() if k != "twin"} for row in TWINS if row["split"] == "train"]
    test = [row | {"it": f"it {row['id']}"} for row in TWINS if row["split"] == "test"]
    write_jsonl(folder / "b-train.jsonl", train)
    write_csv(folder / "a-test.csv", test)
    write(folder / "README.md", "no corpus")
    write(folder / ".hidden.csv", "no corpus")
    return folder


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


def test_a_name_that_is_no_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'dev'.*train, validation, test"):
        load_corpus(folder_of_two(tmp_path)).split("dev")


def test_select_keeps_the_asked_order_of_languages(tmp_path: Path) -> None:
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


def test_select_names_the_languages_there_are(tmp_path: Path) -> None:
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


# Files that cannot be read.


@pytest.mark.parametrize("name", ["gone.csv", "gone.jsonl", "gone"])
@pytest.mark.parametrize("call", [load_corpus, load_prompts])
def test_missing_file(tmp_path: Path, name: str, call: Callable[[Path], Corpus]) -> None:
    refusal(call, tmp_path / name, "no file")


def test_folders_and_other_endings(tmp_path: Path) -> None:
    refusal(load_prompts, tmp_path, "is a folder")
    refusal(load_corpus, tmp_path, "holds no .csv or .jsonl")
    refusal(load_prompts, write(tmp_path / "a.txt", "id,label,en\n1,harmful,a\n"), ".csv nor .jsonl")


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_empty_file(tmp_path: Path, content: bytes, ending: str) -> None:
    refusal(load_prompts, write(tmp_path / f"a.{ending}", content), "is empty")


def test_a_header_alone(tmp_path: Path) -> None:
    refusal(load_prompts, write(tmp_path / "a.csv", "id,label,en\n"), "holds no rows")


def test_not_utf8(tmp_path: Path) -> None:
    latin = b"id,label,da\r\nh1,harmful,l\xe5s\r\n"
    refusal(load_prompts, write(tmp_path / "a.csv", latin), "line 2 ", "byte 25 ", "save it as UTF-8")
    refusal(load_prompts, write(tmp_path / "b.csv", b"\xef\xbb\xbf" + latin), "line 2 ", "byte 28 ")
    refusal(load_prompts, write(tmp_path / "c.csv", "id,label,en".encode("utf-16")), "line 1 ", "byte 0 ")


def test_nul(tmp_path: Path) -> None:
    refusal(load_prompts, write(tmp_path / "a.csv", "id,label,en\n1,harmful,a\0b\n"), "line 2 ", "NUL")
    refusal(
        load_prompts,
        write(tmp_path / "b.jsonl", "id,label,en".encode("utf-16-le")),
        "line 1 ",
        "NUL",
        "UTF-8",
    )
    for escape in ("\\u0000", "\\ud800"):
        content = f'{{"id": "1", "label": "harmful", "en": "a{escape}"}}\n'
        refusal(load_prompts, write(tmp_path / "c.jsonl", content), "line 1 ", "'en'", "NUL or half a surrogate")


# Lines that are no rows.

ROW = '{"id": "1", "label": "harmful", "en": "a"}\n'


@pytest.mark.parametrize("line", ['{"id": ', "id,label,en", "{'id': '2'}", ROW.strip() * 2, "[" * 100_000, "9" * 5000])
def test_invalid_json(tmp_path: Path, line: str) -> None:
    refusal(load_prompts, write(tmp_path / "a.jsonl", ROW + line), "line 2 ", "not valid JSON")


@pytest.mark.parametrize("line", ['["2", "harmful", "b"]', '"2"', "2", "null"])
def test_json_that_is_no_object(tmp_path: Path, line: str) -> None:
    refusal(load_prompts, write(tmp_path / "a.jsonl", ROW + line), "line 2 ", "not a JSON object")


@pytest.mark.parametrize(
    ("field", "cell", "kind"),
    [
        ("en", 3, "a number"),
        ("id", 7.5, "a number"),
        ("label", None, "null"),
        ("en", None, "null"),
        ("en", ["a"], "a list"),
        ("en", {"a": "b"}, "an object"),
        ("note", True, "true or false"),
    ],
)
def test_cells_that_are_no_text(tmp_path: Path, field: str, cell: object, kind: str) -> None:
    row: dict[str, Any] = {"id": "2", "label": "harmful", "en": "b"} | {field: cell}
    refusal(load_prompts, write(tmp_path / "a.jsonl", ROW + json.dumps(row)), "line 2 ", f"'{field}' is {kind}")


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("2,harmful", ("2 cells", "3 columns", "'en' is missing")),
        ("2", ("1 cells", "'label' is missing")),
        ("2,harmful,b, c", ("4 cells", "3 columns", "','")),
    ],
)
def test_csv_rows_of_another_length(tmp_path: Path, line: str, needed: tuple[str, ...]) -> None:
    refusal(load_prompts, write(tmp_path / "a.csv", f"id,label,en\n1,harmful,a\n{line}\n"), "line 3 ", *needed)


@pytest.mark.parametrize("cell", ['"never closed\nmore\n', '"closed" early'])
def test_broken_csv(tmp_path: Path, cell: str) -> None:
    content = f"id,label,en\n1,harmful,a\n2,harmful,{cell}\n"
    refusal(load_prompts, write(tmp_path / "a.csv", content), "line 3 ", "not valid CSV", "quotation marks")


def test_long_csv_cells(tmp_path: Path) -> None:
    text = "x" * 200_000
    assert load_prompts(write(tmp_path / "a.csv", f"id,label,en\n1,harmful,{text}\n")).texts("en") == [text]
    # An end there must be, or a quotation mark that is never closed takes a large file into memory.
    path = write(tmp_path / "b.csv", f"id,label,en\n1,harmful,{text * 51}\n")
    refusal(load_prompts, path, "line 2 ", "not valid CSV", "quotation marks")


# Columns.


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("kr", "'ko' (Korean)"),
        ("korean", "'ko' (Korean)"),
        ("pt-BR", "'pt' (Portuguese)"),
        ("EN", "'en' (English)"),
        ("lable", "'label'"),
        ("Split", "'split'"),
        ("license", "'licence'"),
        ("qqqqqq", "use one of am, ar"),
        ("nb", "'no' (Norwegian)"),
        ("id_ID", "'id-ID' (Indonesian)"),
        ("ID", "'id'"),
        ("xx", "not among the languages that babelguard knows"),
        ("swa", "see docs/extending.md"),
        ("ids", "remove the column, or add the language to languages.py"),
        ("text", "name it by its language, such as en"),
        ("Prompt", "name it by its language, such as en"),
        ("sep=", "remove this line"),
    ],
)
def test_unknown_column(tmp_path: Path, column: str, meant: str) -> None:
    row = {"id": "1", "label": "harmful", "en": "a", column: "b"}
    known = "neither a known language code nor one of id, label, split, category, topic, twin, licence, maker"
    path = write_csv(tmp_path / "a.csv", [row])
    refusal(load_prompts, path, "line 1", f"the column '{column}' of {path} is {known}", meant)
    path = write(tmp_path / "a.jsonl", ROW + json.dumps(row | {"id": "2"}))
    refusal(load_prompts, path, "line 2", f"the column '{column}' of {path} is {known}", meant)


@pytest.mark.parametrize("column", ["xx", "swa", "ids"])
def test_of_short_columns_nothing_is_guessed(tmp_path: Path, column: str) -> None:
    path = write_csv(tmp_path / "a.csv", [{"id": "1", "label": "harmful", "en": "a", column: "b"}])
    assert "did you mean" not in refusal(load_prompts, path, f"'{column}'")


@pytest.mark.parametrize("character", ["\u200f", "\ufeff", "\x1b", "\u2028"])
@pytest.mark.parametrize("field", ["id", "label", "split", "twin", "the column"])
def test_invisible_characters_are_named(tmp_path: Path, field: str, character: str) -> None:
    row = {"id": "one", "label": "harmful", "split": "test", "twin": "two", "en": "a"}
    if field == "the column":
        row, named = row | {f"a{character}r": "b"}, f"the column 'a{character}r'"
    else:
        row[field] = f"{row[field][0]}{character}{row[field][1:]}"
        named = f"the field '{field}' of the row '{row['id']}'"
    for path in (write_csv(tmp_path / "a.csv", [row]), write_jsonl(tmp_path / "a.jsonl", [row])):
        refusal(load_corpus, path, named, f"holds the invisible character U+{ord(character):04X}; remove it")


@pytest.mark.parametrize(
    ("names", "needed"),
    [
        (("label", "en"), "'id' is missing"),
        (("id", "en"), "'label' is missing"),
        (("id", "label", "topic"), "no language column"),
        (("id", "label", "en", ""), "column 4 has no name"),
    ],
)
def test_columns_that_every_file_needs(tmp_path: Path, names: tuple[str, ...], needed: str) -> None:
    row: dict[str, Any] = dict.fromkeys(names, "harmful")
    refusal(load_prompts, write_csv(tmp_path / "a.csv", [row]), "line 1 ", needed)
    refusal(load_prompts, write_jsonl(tmp_path / "a.jsonl", [row]), "line 1 ", needed)


def test_repeated_columns(tmp_path: Path) -> None:
    refusal(
        load_prompts,
        write(tmp_path / "a.csv", "id,label,en, en\n1,harmful,a,b\n"),
        "line 1 ",
        "'en' occurs twice",
    )
    twice = ROW + ROW.replace("}", ', "en": "b"}')
    refusal(load_prompts, write(tmp_path / "a.jsonl", twice), "line 2 ", "'en' occurs twice")


@pytest.mark.parametrize(
    ("change", "needed"),
    [({"da": "en ting"}, "'da' is additional"), ({"ko": "b", "en": None}, "'en' is missing")],
)
def test_jsonl_rows_of_other_languages(tmp_path: Path, change: dict[str, str | None], needed: str) -> None:
    row = {"id": "2", "label": "harmful", "en": "b"} | change
    row = {name: cell for name, cell in row.items() if cell is not None}
    path = write(tmp_path / "a.jsonl", ROW + json.dumps(row))
    refusal(load_prompts, path, "line 2 ", needed, "compared with line 1")


# Cells.


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("field", ["id", "label", "en", "da"])
@pytest.mark.parametrize("cell", ["", " \t", "\u00a0\u3000", "\u200b\ufeff"])
def test_empty_cells(tmp_path: Path, ending: str, field: str, cell: str) -> None:
    rows = [TWINS[0], TWINS[1] | {field: cell}]
    path = (write_csv if ending == "csv" else write_jsonl)(tmp_path / f"a.{ending}", rows)
    line = "line 3 " if ending == "csv" else "line 2 "
    sentence = refusal(load_prompts, path, line, f"'{field}'", "is empty")
    assert ("the row 's1'" in sentence) == (field != "id")


@pytest.mark.parametrize("label", ["Harmful", "harmfull", "0"])
def test_labels(tmp_path: Path, label: str) -> None:
    path = write_csv(tmp_path / "a.csv", [TWINS[0], TWINS[1] | {"label": label}])
    refusal(load_prompts, path, "line 3 ", "'label'", "'s1'", f"'{label}'", "harmful or harmless")


def test_unknown_split(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [TWINS[0], TWINS[1] | {"split": "dev"}])
    refusal(load_corpus, path, "line 3 ", "'split'", "'s1'", "'dev'", "train or validation or test")


# Rows compared with each other.


def test_duplicate_id(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [*TWINS, TWINS[1] | {"en": "x", "da": "y"}])
    refusal(load_prompts, path, "In line 6 ", "id 's1'", "line 3 of")


def test_duplicate_id_in_another_file(tmp_path: Path) -> None:
    folder = folder_of_two(tmp_path)
    write_csv(folder / "c.csv", [{"id": "h2", "label": "harmful", "en": "x"}])
    with pytest.raises(UserError) as caught:
        load_corpus(folder)
    for part in (f"In line 2 of {folder / 'c.csv'}", "'h2'", f"line 2 of {folder / 'a-test.csv'}"):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["SMØR  en\tlås", unicodedata.normalize("NFD", "smør en lås "), "smør\nen lås"])
@pytest.mark.parametrize("call", [load_corpus, load_prompts])
def test_duplicate_text(tmp_path: Path, text: str, call: Callable[[Path], Corpus]) -> None:
    path = write_csv(tmp_path / "a.csv", [*TWINS, TWINS[2] | {"id": "h3", "en": "x", "da": text}])
    refusal(call, path, "In line 6 ", "'da'", "'h3'", "'s1' (line 3 of")


def test_the_same_text_in_two_languages_is_no_duplicate(tmp_path: Path) -> None:
    rows = [TWINS[0] | {"en": "taxi", "da": "taxi"}, TWINS[1]]
    assert len(load_corpus(write_csv(tmp_path / "a.csv", rows)).rows) == 2


@pytest.mark.parametrize(
    ("twins", "needed"),
    [
        (("s9", "h1", "", ""), ("line 2 ", "'s9'", "'h1'", "does not exist")),
        (("s1", "", "", ""), ("line 2 ", "'h1'", "'s1' (line 3 of", "whose twin is none")),
        (("s1", "h1", "s1", ""), ("line 4 ", "'h2'", "'s1' (line 3 of", "whose twin is 'h1'")),
        (("h1", "", "", ""), ("line 2 ", "'h1'", "two different rows")),
    ],
)
def test_twins_are_mutual_in_a_corpus_only(tmp_path: Path, twins: tuple[str, ...], needed: tuple[str, ...]) -> None:
    path = write_csv(tmp_path / "a.csv", [row | {"twin": twin} for row, twin in zip(TWINS, twins, strict=True)])
    refusal(load_corpus, path, *needed)
    assert len(load_prompts(path).rows) == 4


# The corpus that ships.

TRAINED = {"en", "da", "ko", "el", "ga"}
TESTED = TRAINED | {"it", "ar", "zh", "th", "sw", "cy"}


def test_shipped_corpus() -> None:
    corpus = load_corpus()
    parts = {name: corpus.split(name) for name in ("train", "validation", "test")}
    for name, count, languages in (
        ("train", 64, TRAINED),
        ("validation", 32, TRAINED),
        ("test", 100, TESTED),
    ):
        assert Counter(row.label for row in parts[name].rows) == {"harmful": count, "harmless": count}, name
        assert languages <= set(parts[name].languages), name
    assert sum(len(part.rows) for part in parts.values()) == len(corpus.rows)

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
