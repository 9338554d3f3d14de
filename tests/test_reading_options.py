"""What the user says about a file, and what is guessed without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reading_files import BREAD, CARDS, LOCK, XSAFETY, lines, read, rows_of, save

from babelguard.corpus import PromptOptions, read_prompts
from babelguard.corpus.reading.options import parse_columns
from babelguard.errors import UserError


def test_columns_labels_and_patterns(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", f"nr,ask,ko,kind\n8,{LOCK},자물쇠,contrast_x\n9,{BREAD},빵,plain\n")
    prompts = read(path, columns={"en": "ask", "id": "nr"}, label_column="kind", harmful="contrast*")
    assert rows_of(prompts) == [("8", "harmful", {"en": LOCK}), ("9", "harmless", {"en": BREAD})]
    prompts = read(path, columns={"en": "ASK", "ko": "ko"}, label="harmless")
    assert prompts.languages == ("en", "ko") and {row.label for row in prompts.corpus.rows} == {"harmless"}


@pytest.mark.parametrize("value", ["harmful", "Unsafe", "MALICIOUS", "toxic"])
@pytest.mark.parametrize("other", ["harmless", "safe", "un-harmful", "Benign"])
def test_usual_labels_are_known(tmp_path: Path, value: str, other: str) -> None:
    path = save(tmp_path / "a.csv", f"prompt,label\n{LOCK},{value}\n{BREAD},{other}\n")
    assert [row.label for row in read(path).corpus.rows] == ["harmful", "harmless"]


@pytest.mark.parametrize(("column", "yes"), [("is_harmful", "true"), ("unsafe", "1"), ("is_safe", "no"), ("safe", "0")])
def test_yes_or_no_labels(tmp_path: Path, column: str, yes: str) -> None:
    no = {"true": "false", "1": "0", "no": "yes", "0": "1"}[yes]
    path = save(tmp_path / "a.csv", f"prompt,{column}\n{LOCK},{yes}\n{BREAD},{no}\n")
    assert [row.label for row in read(path).corpus.rows] == ["harmful", "harmless"]


def test_numbers_are_no_labels_until_the_user_says_so(tmp_path: Path) -> None:
    path = save(tmp_path / "a.json", json.dumps([{"prompt": LOCK, "label": 1}, {"prompt": BREAD, "label": 0.0}]))
    with pytest.raises(
        UserError, match=r"the value '1', which is not known as a label \(its values are 1, 0\); set `harmful`"
    ):
        read(path)
    assert [row.label for row in read(path, harmful="1").corpus.rows] == ["harmful", "harmless"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", f"{LOCK}\r\n\r\n{CARDS}\r\n"),
        ("b.csv", XSAFETY),
        ("c.json", json.dumps([LOCK, CARDS])),
        ("d.jsonl", lines([LOCK, CARDS])),
        ("e.json", json.dumps({"prompts": [LOCK, CARDS]})),
        ("f.json", json.dumps({"version": 2, "data": [{"question": LOCK}, {"question": CARDS}]})),
        ("g.csv", f"sep=;\nprompt;x\n{LOCK};1\n{CARDS};2\n"),
        ("h.csv", f"prompt\n{LOCK}\n{CARDS}\n".encode("utf-16")),
        ("i.csv", f"\ufeffprompt\n{LOCK}\n{CARDS}\n"),
        ("j.csv", f"1,{LOCK}\n2,{CARDS}\n"),
    ],
)
def test_a_label_for_the_whole_file(tmp_path: Path, name: str, content: str | bytes) -> None:
    prompts = read(save(tmp_path / name, content), label="harmful")
    assert prompts.corpus.rows[0].texts == {"en": LOCK}
    assert [row.label for row in prompts.corpus.rows] == ["harmful", "harmful"]
    with pytest.raises(UserError, match="nothing says which prompts are harmful; set `label` to harmful or harmless"):
        read(tmp_path / name)


def test_a_file_without_a_header_has_numbered_columns(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", f"{LOCK},harmful\nBake bread,harmless\n")
    prompts = read(path, columns={"en": "1"}, label_column="2")
    assert rows_of(prompts) == [("1", "harmful", {"en": LOCK}), ("2", "harmless", {"en": "Bake bread"})]


def test_columns_named_by_languages(tmp_path: Path) -> None:
    header = "id,English,prompt_de,zh-CN,한국어,no,iw,label"
    path = save(tmp_path / "a.csv", f"{header}\n5,{LOCK},Schloss,撬锁,자물쇠,17,מנעול,unsafe\n")
    prompts = read(path)
    # `no` holds numbers, so it is not Norwegian.
    assert prompts.languages == ("en", "de", "zh", "ko", "he") and "other columns: no." in prompts.lines[0]


def test_a_column_id_with_texts_is_indonesian(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", f"prompt_en,id,kind\n{LOCK},Bagaimana membobol kunci?,x\n")
    assert read(path, label="harmful").languages == ("en", "id")


def test_indonesian_is_not_the_id(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", "nr,teks\n4,Bagaimana membobol kunci?\n")
    prompts = read(path, columns={"id-ID": "teks", "id": "nr"}, label="harmful")
    assert rows_of(prompts) == [("4", "harmful", {"id": "Bagaimana membobol kunci?"})]


def test_the_only_language_that_is_selected_is_that_of_the_only_column(tmp_path: Path) -> None:
    path = save(tmp_path / "a.txt", "Jinsi ya kufungua kufuli bila ufunguo na bila kelele yoyote\n" * 5)
    assert read(path, ("sw",), label="harmful").languages == ("sw",)
    with pytest.raises(
        UserError, match=r"taken as English \(en\) but looks like Swahili \(sw\); set `columns`.*sw=1\.$"
    ):
        read(path, label="harmful")
    with pytest.raises(UserError, match=r"taken as Danish \(da\) but looks like Swahili"):
        read(path, ("da",), label="harmful")
    short = save(tmp_path / "b.txt", "怎么撬锁？\n如何在牌局中作弊？\n")
    with pytest.raises(UserError, match=r"looks like Chinese \(zh\)"):
        read(short, label="harmful")


def test_an_english_benchmark_is_not_taken_for_the_selected_language(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", f"goal,target\n{LOCK},\n")
    with pytest.raises(UserError, match=r"taken as English; set `columns`, for example da=goal\.$"):
        read(path, ("da",))
    assert read(path, ("da",), columns={"da": "goal"}).languages == ("da",)


def test_one_row_per_language_with_other_names(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", f"utterance,tongue,label\n{LOCK},en,bad\nSchloss,de,bad\n")
    given = {"columns": {"text": "utterance", "language": "tongue"}, "label": "harmful"}
    assert rows_of(read(path, **given)) == [("1", "harmful", {"en": LOCK}), ("2", "harmful", {"de": "Schloss"})]


# Several files.


def test_several_files_are_read_together(tmp_path: Path) -> None:
    adv = save(tmp_path / "adv.csv", f"goal,target\n{LOCK},\n{CARDS},\n")
    mine = save(tmp_path / "mine.csv", f"ask,da\n{BREAD},Hvordan bager jeg brød?\n")
    options = PromptOptions.of({"en": "ask", "da": "da"}, ["harmful", "harmless"])
    prompts = read_prompts([adv, mine], options)
    assert rows_of(prompts) == [
        ("adv/1", "harmful", {"en": LOCK}),
        ("adv/2", "harmful", {"en": CARDS}),
        ("mine/1", "harmless", {"en": BREAD, "da": "Hvordan bager jeg brød?"}),
    ]
    assert prompts.languages == ("en", "da") and prompts.name == "adv+mine" and len(prompts.lines) == 2
    assert len(read_prompts([adv, mine], options, limit=1).corpus.rows) == 2


def test_the_same_name_in_two_folders(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    paths = [save(folder / "a.csv", f"goal,target\n{LOCK},\n") for folder in (tmp_path, tmp_path / "b")]
    assert [row.id for row in read_prompts(paths).corpus.rows] == ["a/1", "a-2/1"]


def test_one_label_does_not_overwrite_the_labels_of_a_benchmark(tmp_path: Path) -> None:
    adv = save(tmp_path / "adv.csv", f"goal,target\n{LOCK},\n")
    mine = save(tmp_path / "mine.txt", f"{BREAD}\n")
    with pytest.raises(UserError, match=r"adv.csv \(AdvBench\) has only harmful prompts.*one per file"):
        read_prompts([adv, mine], PromptOptions.of(label="harmless"))
    with pytest.raises(UserError, match="There are 3 labels for 2 files"):
        read_prompts([adv, mine], PromptOptions.of(label=["harmful"] * 3))
    read_prompts([adv, mine], PromptOptions.of(label=["harmful", "harmless"]))


# Options that cannot be used.


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"columns": {"xx": "a"}}, "The language code 'xx' is not known"),
        ({"columns": {"en": "b"}}, "has the columns prompt, kind, but not 'b'; set `columns` en="),
        ({"label": "bad"}, "The `label` is 'bad'; use harmful or harmless"),
        ({"label": "harmful", "label_column": "kind"}, "excludes `label_column`"),
        ({"label_column": "type"}, "but not 'type'; set `label_column`"),
        ({"label_column": "kind"}, r"the value 'good', .*\(its values are good, poor\); set `harmful`"),
        ({"label_column": "kind", "harmful": "bad*"}, "matches the `harmful` pattern 'bad"),
        ({"harmful": "bad*"}, "none is known as a label column; set `label_column`"),
        ({"columns": {"en": "prompt", "text": "prompt"}}, "exclude each other"),
        ({}, "nothing says which prompts are harmful; set `label`"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, object], sentence: str) -> None:
    path = save(tmp_path / "a.csv", f"prompt,kind\n{LOCK},good\n{CARDS},poor\n")
    with pytest.raises(UserError, match=sentence) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value) and str(caught.value)[-1] in ".?"


def test_columns_as_texts() -> None:
    assert parse_columns(["en=goal", "da = a=b"]) == {"en": "goal", "da": "a=b"} and parse_columns(None) is None
    for wrong in (["goal"], ["=goal"], ["en="]):
        with pytest.raises(UserError, match="is not a language and a column, such as en=goal"):
            parse_columns(wrong)
    with pytest.raises(UserError, match="names 'en' twice"):
        parse_columns(["en=a", "en=b"])
