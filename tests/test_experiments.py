"""What the experiments do before the first run, and the records that they keep of runs."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

import pytest

from babelguard.config import load_settings
from babelguard.corpus import load_corpus
from babelguard.errors import UserError

FOLDER = Path(__file__).parents[1] / "experiments"


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("planned"), importlib.import_module("record")
    sys.path.remove(str(FOLDER))
    del sys.modules["planned"], sys.modules["record"]


@pytest.fixture
def planned(modules):
    return modules[0]


@pytest.fixture
def plan(planned):
    return [planned.Planned("mcd", 0, {"preset": "mcd", "test_languages": ("en", "da")})]


def asked(folder, **changes):
    given = {"output": folder / "runs", "records": folder / "kept", "only": None, "dtype": "auto", "limit": 2}
    return argparse.Namespace(**(given | {"dry_run": True} | changes))


def a_run(folder, settings, verdicts):
    """A finished run folder: verdicts is defence -> language -> label -> words, in the order of the rows."""
    (folder / "safety_prompt").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(settings.model_dump(mode="json") | {"model_fingerprint": "f"}))
    prompt = {"training": {"written": "Be safe.", "kept_step": 40}}
    (folder / "safety_prompt" / "config.json").write_text(json.dumps(prompt))
    rows = load_corpus().split("test").select(("en",), 2).rows
    lines = []
    for defence, languages in verdicts.items():
        for code, labels in languages.items():
            for label, words in labels.items():
                ids = [row.id for row in rows if row.label == label]
                for row_id, word in zip(ids, words, strict=True):
                    row = {"defence": defence, "language": code, "id": row_id, "label": label}
                    word, _, where = word.partition(" ")
                    row |= {"verdict": word, "foreign": where == "elsewhere"}
                    lines.append(json.dumps(row | {"split": "test", "reply": "never kept"}))
    lines.append(
        json.dumps({"split": "validation", "defence": "mcd", "language": "en", "id": "x", "verdict": "broken"})
    )
    (folder / "verdicts.refusal-patterns.jsonl").write_text("\n".join(lines))


@pytest.fixture
def recorded(modules, plan, tmp_path):
    record = modules[1]
    args = asked(tmp_path)
    settings = load_settings(plan[0].asked({"dtype": "auto", "limit": 2}))
    cell = {"harmful": ["answered", "refused"], "harmless": ["broken", "answered elsewhere"]}
    run = args.output / "mcd-seed0"
    a_run(run, settings, {name: {"en": cell, "da": cell} for name in ("none", "written", "mcd")})
    record.write_record(record.take_record(run, 2), args.records / "mcd-seed0.json")
    return args


def test_a_run_that_is_recorded_is_done_without_its_folder(planned, plan, recorded, capsys):
    elsewhere = argparse.Namespace(**(vars(recorded) | {"output": recorded.output.parent / "empty"}))
    assert planned.do(plan, elsewhere) is None
    assert "done" in capsys.readouterr().out
    scored = planned.all_replies(plan, elsewhere)
    assert len(scored) == 3 * 2 * 4
    own = [reply for reply in scored if reply.defence == "mcd" and reply.language == "da"]
    assert [(reply.seed, reply.label, reply.verdict, reply.foreign) for reply in own] == [
        (0, "harmful", "answered", False),
        (0, "harmful", "refused", None),
        (0, "harmless", "broken", None),
        (0, "harmless", "answered", True),
    ]
    assert {reply.seed for reply in scored if reply.defence == "written"} == {None}
    assert own[0].row_id in {row.id for row in load_corpus().split("test").rows}


def test_a_record_holds_no_reply(recorded):
    assert "never kept" not in (recorded.records / "mcd-seed0.json").read_text(encoding="utf-8")


def test_a_record_of_something_else_is_refused(planned, plan, recorded):
    with pytest.raises(UserError, match="made with limit = 2 and None is asked for"):
        planned.do(plan, argparse.Namespace(**(vars(recorded) | {"limit": None})))
    path = recorded.records / "mcd-seed0.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    # A setting that is newer than the record counts as its default.
    del kept["config"]["alignment_languages"]
    path.write_text(json.dumps(kept), encoding="utf-8")
    assert planned.do(plan, recorded) is None
    kept = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(kept | {"adapter": "another"}), encoding="utf-8")
    with pytest.raises(UserError, match="made with adapter = 'another'"):
        planned.do(plan, recorded)


def test_a_run_that_is_not_planned(planned, plan, tmp_path):
    with pytest.raises(UserError, match="no run with 'mdc-seed0'; there are mcd-seed0"):
        planned.do(plan, asked(tmp_path, only="mcd-seed0,mdc-seed0"))
