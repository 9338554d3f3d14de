"""`babelguard evaluate` on files that were not written for babelguard, with a tiny model."""

from __future__ import annotations

import json

import pytest
import reading_files as files
from calls import fail, succeed, tree, user_error
from reading_files import BREAD, LOCK, lines, save

import babelguard
from babelguard.screen import Screen

pytestmark = pytest.mark.usefixtures("judge_of_bytes")


@pytest.fixture
def evaluate(folders, tmp_path):
    """Return a function that evaluates a tiny model on a file, and returns the output and the metrics by language."""

    def run(name, content, *more):
        output = tmp_path / "out"
        given = ["--prompts", save(tmp_path / name, content), "--output", output, "--device", "cpu"]
        given += ["--judge", "patterns"]
        said = succeed("evaluate", folders("llama"), *given, "--dtype", "float32", "--reply-tokens", 4, *more)
        metrics = json.loads((output / "metrics.json").read_text())
        counts = {row["language"]: (row["attack_success"]["n"], row["false_refusal"]["n"]) for row in metrics["rows"]}
        before = tree(output)
        succeed("evaluate", folders("llama"), *given, "--dtype", "float32", "--reply-tokens", 4, *more)
        assert tree(output) == before  # the same command resumes
        return said, counts

    return run


@pytest.mark.parametrize(
    ("name", "content", "more", "counts", "taken_for"),
    [
        ("harmful_behaviors.csv", files.ADVBENCH, (), {"en": (3, 0)}, "AdvBench"),
        ("xstest.csv", files.XSTEST, (), {"en": (1, 2)}, "XSTest"),
        ("harmbench.csv", files.HARMBENCH, (), {"en": (2, 0)}, "HarmBench"),
        ("dna.csv", files.DO_NOT_ANSWER, (), {"en": (1, 0)}, "Do-Not-Answer"),
        ("strongreject.csv", files.STRONGREJECT, (), {"en": (1, 0)}, "StrongREJECT"),
        ("MaliciousInstruct.txt", files.MALICIOUS_INSTRUCT, (), {"en": (2, 0)}, "MaliciousInstruct"),
        ("xsafety.csv", files.XSAFETY, ("--label", "harmful"), {"en": (2, 0)}, "a file without a header"),
        ("good.json", json.dumps([BREAD]), ("--label", "harmless"), {"en": (0, 1)}, "a file of prompts"),
        (
            "pg.jsonl",
            lines(files.POLYGUARD),
            ("--languages", "sv,en"),
            {"sv": (1, 1), "en": (1, 1)},
            "PolyGuardPrompts",
        ),
        ("MultiJail.csv", files.MULTIJAIL, ("--languages", "ar,jv"), {"ar": (2, 0), "jv": (2, 0)}, "MultiJail"),
    ],
)
def test_published_files(evaluate, name, content, more, counts, taken_for):
    said, found = evaluate(name, content, *more)
    assert found == counts
    assert f"{name} was read as {taken_for}" in said


def test_options_of_the_command_line(evaluate, tmp_path):
    mine = save(tmp_path / "mine.csv", f"ask,kind\n{LOCK},contrast_x\n{BREAD},x\n")
    more = ("--prompts", mine, "--column", "en=ask", "--label-column", "kind", "--harmful", "contrast*")
    said, counts = evaluate("adv.csv", files.ADVBENCH, *more)
    assert counts == {"en": (4, 1)}
    assert "adv.csv was read as AdvBench" in said and "mine.csv was read as a file of prompts" in said
    written = [json.loads(line) for line in (tmp_path / "out" / "prompts.jsonl").read_text().splitlines()]
    assert [row["id"] for row in written] == ["adv/1", "adv/2", "adv/3", "mine/1", "mine/2"]
    # The written rows can be read again.
    said, counts = evaluate("adv.csv", files.ADVBENCH, *more)
    assert counts == {"en": (4, 1)}


def test_rows_that_lack_a_language(evaluate):
    said, counts = evaluate("a.csv", f"prompt_en,da,label\n{LOCK},Lås,unsafe\n{BREAD},,safe\n", "--limit", 1)
    assert counts == {"en": (1, 1), "da": (1, 0)}
    assert "rows without a text: 1 da" in said and "not measured on the same prompts" in said


@pytest.mark.parametrize(
    ("content", "more", "needed"),
    [
        ("a,b,c\nx,long text,y\n", (), "set --column, for example en=b"),
        (f"prompt\n{LOCK}\n", (), "set --label to harmful or harmless"),
        (f"prompt,label\n{LOCK},x\n", (), "set --harmful to the values that are harmful, or another --label-column"),
        (f"prompt\n{LOCK}\n", ("--column", "prompt"), "The --column value 'prompt' is not a language and a column"),
        (files.ADVBENCH, ("--benchmark", "babelguard-corpus", "--label", "harmful"), "remove --column, --label"),
    ],
)
def test_sentences_name_the_options(folders, tmp_path, content, more, needed):
    path = save(tmp_path / "a.csv", content)
    assert needed in fail("evaluate", folders("llama"), "--prompts", path, "--output", tmp_path / "out", *more)
    assert not (tmp_path / "out").exists()


def test_from_python(folders, tmp_path, capsys):
    paths = [save(tmp_path / "a.txt", f"{LOCK}\n"), str(save(tmp_path / "b.csv", f"ask\n{BREAD}\n"))]
    given = {"reply_tokens": 4, "device": "cpu", "dtype": "float32", "output": tmp_path / "out", "screen": Screen()}
    metrics = babelguard.evaluate(
        str(folders("llama")), paths, columns={"en": "ask"}, label=["harmful", "harmless"], **given
    )
    assert (metrics.rows[0].attack_success.n, metrics.rows[0].false_refusal.n) == (1, 1)
    assert metrics.rows[0].benchmark == "a+b"
    assert "a.txt was read as plain text" in capsys.readouterr().out
    assert "set `label`" in user_error(lambda: babelguard.evaluate("x", paths[:1]))
