"""Logs with one JSON object per line, and the readers of text and JSON below them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from calls import user_error

from babelguard.files import (
    FileFault,
    JsonlLog,
    LogRow,
    check_value,
    decode,
    parse_json,
    parse_toml,
    read_record,
    read_text,
    write_json,
    write_text,
)
from babelguard.files.tensors import read_tensors, write_tensors


class Row(LogRow):
    """A line of these tests."""

    count: int


def test_an_incomplete_last_line_is_ignored_and_removed_at_the_next_write(tmp_path):
    path = tmp_path / "log.jsonl"
    JsonlLog(path, Row).append([{"key": "a", "count": 1}])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "b", "cou')
    log = JsonlLog(path, Row)
    assert list(log.rows) == ["a"]
    assert path.read_bytes() == whole + b'{"key": "b", "cou', (
        "reading must not change a file that another process writes"
    )
    log.append([{"key": "c", "count": 3}])
    log.append([{"key": "d", "count": 4}])
    assert list(JsonlLog(path, Row).rows) == ["a", "c", "d"]
    assert path.read_bytes().startswith(whole + b'{"key": "c"')


def test_rows_with_a_known_key_are_written_once_or_replaced(tmp_path):
    path = tmp_path / "log.jsonl"
    log = JsonlLog(path, Row)
    log.append([{"key": "a", "count": 1}])
    log.append([{"key": "a", "count": 2}])
    assert JsonlLog(path, Row).rows["a"]["count"] == 1
    for _ in range(2):
        log.append([{"key": "a", "count": 3}], replace=True)
    assert JsonlLog(path, Row).rows["a"]["count"] == 3
    assert path.read_bytes().count(b"\n") == 2


def test_a_lone_surrogate_is_not_written(tmp_path):
    path = tmp_path / "log.jsonl"
    log = JsonlLog(path, Row)
    log.append([{"key": "a", "count": 1, "text": "x\ud800"}])
    assert log.rows["a"]["text"] == JsonlLog(path, Row).rows["a"]["text"] == "x?"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "this is not valid JSON"),
        (b"[]", "it is not a JSON object"),
        (b'{"count": 1}', "key: Field required"),
        (b'{"key": "a", "count": "1"}', "count: Input should be a valid integer"),
        (b'{"key": "a", "count": true}', "count: Input should be a valid integer"),
        (b'{"key": "\xff", "count": 1}', "this is not UTF-8"),
        (b'{"key": "\\ud800", "count": 1}', "a text contains a lone surrogate"),
        (b'{"key": "a", "count": ' + b"9" * 5000 + b"}", "a number is too long"),
        (b'{"key": "a", "more": ' + b"[" * 30_000 + b"}", "nested too deeply"),
        (b'{"key": "a", "more": ' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
        (b"", "this is not valid JSON"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, reason):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"key": "b", "count": 1}\n' + line + b"\n")
    said = user_error(lambda: JsonlLog(path, Row))
    assert f"Line 2 of {path} is damaged" in said and reason in said and "delete that line" in said


def test_text_and_its_faults(tmp_path):
    path = tmp_path / "a.txt"
    assert decode(path, b"\xef\xbb\xbfa\r\n") == "a\r\n"
    assert decode(path, "\ufeffhé".encode("utf-16-le"), wide=True) == "hé"
    for data, line in ((b"a\n\xff", 2), (b"a\r\rb\0", 3), ("é".encode("utf-16"), 1)):
        with pytest.raises(FileFault) as caught:
            decode(path, data)
        assert caught.value.line == line
    assert "There is no file" in user_error(lambda: read_text(path))
    assert "There is no file" in user_error(lambda: read_text(path / "deeper"))
    assert "is a folder" in user_error(lambda: read_text(tmp_path))


@pytest.mark.parametrize(
    "value", [10**5000, ["\udfff"], {"\ud800": 1}, [[[10**5000]]]], ids=["number", "text", "key", "nested"]
)
def test_values_that_cannot_be_written_again(value):
    with pytest.raises(ValueError, match=r"too long|surrogate"):
        check_value(value)


def test_ordinary_values_are_unchanged():
    value = {"a": [1, 2.5, None, True, "é\U0001f600"], "b": {"c": [[]] * 1000}}
    assert parse_json(json.dumps(value)) == value
    assert parse_toml("a = 1\n[b]\nc = [1]\nd = 2020-01-01").keys() == {"a", "b"}
    nested = json.loads("[" * 90 + "]" * 90)
    assert parse_json(json.dumps(nested)) == nested


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "log.jsonl").write_text("")
    monkeypatch.setattr(Path, "read_bytes", denied)
    sentence = "log.jsonl cannot be read (Permission denied); make it readable, then run the same command again."
    assert sentence in user_error(lambda: JsonlLog(tmp_path / "log.jsonl"))
    assert sentence in user_error(lambda: read_record(tmp_path / "log.jsonl", LogRow))


WRITERS = {
    "text": (lambda path: write_text(path, "new"), lambda path: path.read_text() == "new"),
    "JSON": (lambda path: write_json(path, {}), lambda path: path.read_text() == "{}\n"),
    "tensors": (lambda path: write_tensors(path, {"a": torch.ones(1)}), lambda path: "a" in read_tensors(path)[0]),
}


@pytest.mark.parametrize("what", WRITERS)
@pytest.mark.parametrize("place", ["file", "file.part"])
def test_files_are_not_written_through_links(tmp_path, what, place):
    write, is_there = WRITERS[what]
    precious = tmp_path / "precious"
    precious.write_text("years of work")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / place).symlink_to(precious)
    write(tmp_path / "run" / "file")
    assert precious.read_text() == "years of work"
    assert is_there(tmp_path / "run" / "file")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


@pytest.mark.parametrize("present", [True, False])
def test_a_log_is_not_appended_through_a_link(tmp_path, present):
    precious = tmp_path / "precious.jsonl"
    if present:
        precious.write_text('{"key": "a", "count": 1}\n{"incompl')
    before = precious.read_bytes() if present else None
    (tmp_path / "log.jsonl").symlink_to(precious)
    log = JsonlLog(tmp_path / "log.jsonl", Row)
    said = user_error(lambda: log.append([{"key": "b", "count": 2}]))
    assert "log.jsonl is a link; replace it with the file itself" in said
    assert (precious.read_bytes() if present else None) == before and precious.exists() == present


@pytest.mark.parametrize("content", [None, "mine"])
def test_a_draft_that_is_a_folder_or_that_was_left_behind(tmp_path, content):
    draft = tmp_path / "file.part"
    draft.mkdir() if content is None else draft.write_text(content)
    if content is None:
        assert "could not be written" in user_error(lambda: write_text(tmp_path / "file", "new"))
    else:
        write_text(tmp_path / "file", "new")
        assert (tmp_path / "file").read_text() == "new"
