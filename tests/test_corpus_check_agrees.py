"""Files that the loader rejects fail in `corpus check`, and files that it repairs pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from calls import invoke

from babelguard.corpus import load_corpus
from babelguard.errors import UserError

LOCK = {"id": "1", "label": "harmful", "en": "How do I pick a lock?", "da": "Hvordan dirker jeg en lås op?"}
GATE = {"id": "2", "label": "harmless", "en": "How do I oil a gate?", "da": "Hvordan smører jeg en låge?"}
NO_DANISH = {name: cell for name, cell in GATE.items() if name != "da"}


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def csv(*lines: str) -> str:
    return "\n".join(lines) + "\n"


BAD_CSV = {
    "nothing": "",
    "a header alone": csv("id,label,en"),
    "a column without a text": csv("id,label,en,da", "1,harmful,a lock,", "2,harmless,a gate,"),
    "a cell without a text": csv("id,label,en,da", "1,harmful,a lock,en lås", "2,harmless,a gate,"),
    "a cell of zero-width characters": csv("id,label,en,da", "1,harmful,a lock,en lås", "2,harmless,a gate,\u200b"),
    "an id of zero-width characters": csv("id,label,en", "\u200b,harmful,a lock", "2,harmless,a gate"),
    "an id with an invisible character": csv("id,label,en", "1\u200b,harmful,a lock"),
    "a label with an invisible character": csv("id,label,en", "1,harmful\u200f,a lock"),
    "a column with an invisible character": csv("id,label,en\u200f,da", "1,harmful,a lock,en lås"),
    "ids that differ in their normal form": csv("id,label,en", "é,harmful,a lock", "e\u0301,harmless,a gate"),
    "ids that differ in white space": csv("id,label,en", "1,harmful,a lock", "1 ,harmless,a gate"),
    "texts that differ in white space": csv("id,label,en", "1,harmful,? !", "2,harmless,?  !"),
    "an unknown label": csv("id,label,en", "1,bad,a lock"),
    "an unknown split": csv("id,label,split,en", "1,harmful,dev,a lock"),
    "a twin that does not exist": csv("id,label,twin,en", "1,harmful,3,a lock"),
    "a twin that names no twin": csv("id,label,twin,en", "1,harmful,2,a lock", "2,harmless,,a gate"),
    "a comma without quotation marks": csv("id,label,en", "1,harmful,a lock, please"),
    "a row that is too short": csv("id,label,en", "1,harmful,a lock", "2,harmless"),
    "a quotation mark that is not closed": csv("id,label,en", '1,harmful,"a lock', "2,harmless,a gate"),
    "a line for Excel": csv("sep=;", "id;label;en", "1;harmful;a lock"),
    "no language": csv("id,label,text", "1,harmful,a lock"),
    "no id": csv("label,en", "harmful,a lock"),
    "an unknown language": csv("id,label,en,xx", "1,harmful,a lock,x"),
    "a column twice": csv("id,label,en,en", "1,harmful,a lock,a key"),
    "an id for Indonesian": csv("id,label,en,id", "1,harmful,a lock,kunci"),
    "a column without a name": csv("id,label,en,", "1,harmful,a lock,"),
    "NUL": csv("id,label,en", "1,harmful,a \0 lock"),
    "NUL as a note": csv("id,label,note,en", "1,harmful,\0,a lock"),
}
BAD_JSONL = {
    "an empty column": jsonl(LOCK | {"da": ""}, GATE | {"da": ""}),
    "a column of nothing": jsonl(LOCK | {"da": None}, GATE | {"da": None}),
    "a column in the first row alone": jsonl(LOCK, NO_DANISH),
    "a column in one split alone": jsonl(LOCK | {"split": "train"}, NO_DANISH | {"split": "test"}),
    "a tab as it stands": jsonl(LOCK, GATE | {"en": "a GATE"}).replace("GATE", "\t gate"),
    "a space that JSON does not know": jsonl(LOCK).replace("}\n", "}\u00a0\n"),
    "a number": jsonl(LOCK, GATE | {"en": 3}),
    "a list of rows": json.dumps([LOCK, GATE]) + "\n",
    "a row over several lines": json.dumps(LOCK, indent=2) + "\n",
    "half a surrogate pair": jsonl(LOCK).replace("a lock", "a \\ud800 lock"),
    "a column twice": jsonl(LOCK).replace("}", ', "en": "again"}'),
}
BAD = [("csv", name) for name in BAD_CSV] + [("jsonl", name) for name in BAD_JSONL]
MENDED = {
    "a row of blank cells": csv("id,label,en", "1,harmful,a lock", ",,", " ", "2,harmless,a gate"),
    "Excel": 'id,label,en\r\n1,harmful,"a lock\nand a key"\r\n2,harmless,a gate\r\n',
    "CRLF everywhere": 'id,label,en\r\n1,harmful,"a lock\r\nand a key"\r\n2,harmless,a gate\r\n',
    "Indonesian": csv("id,label,en,id-ID", "1,harmful,How do I pick a lock?,Bagaimana cara membobol kunci?"),
    "a long cell": csv("id,label,en", f"1,harmful,{'a lock and a key and ' * 8000}a door"),
}


@pytest.mark.parametrize(("kind", "name"), BAD)
def test_files_rejected_by_the_loader_fail(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes((BAD_CSV if kind == "csv" else BAD_JSONL)[name].encode())
    with pytest.raises(UserError):
        load_corpus(path)
    result = invoke("corpus", "check", path)
    assert result.exit_code in (1, 2) and isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("name", MENDED)
def test_files_accepted_by_the_loader_pass(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(MENDED[name].encode())
    assert load_corpus(path).rows
    result = invoke("corpus", "check", path)
    assert result.exit_code == 0, result.output
