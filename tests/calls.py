"""Shared by the tests of the command line: a small corpus, small settings, a judge for random replies, and calls."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from babelguard.cli.app import app
from babelguard.errors import UserError
from babelguard.judges import Judgement, Verdict

SETTINGS = """
device = "cpu"
dtype = "float32"

[objective]
anchor_rows = 4
anchor_tokens = 4

[training]
batch_size = 4
prompt_length = 6

[selection]
rows = 2
every = 3
judge = "patterns"

[evaluation]
written = "short"
judge = "patterns"
other_judges = ""
reply_tokens = 4
"""
WORDS = {
    "en": "Please explain {} to me",
    "da": "Forklar mig {}, tak",
    "ko": "{}에 대해 설명해 주세요",
    "cs": "Vysvětli mi prosím {}",
}


def write_corpus(path: Path, codes=("en", "da", "ko")) -> Path:
    """Write a CSV corpus with all three splits."""
    lines = [",".join(["id", "label", "split", *codes])]
    for split, count in (("train", 5), ("validation", 2), ("test", 3)):
        for label in ("harmful", "harmless"):
            for number in range(count):
                name = f"{split}-{label}-{number}"
                lines.append(",".join([name, label, split, *(f'"{WORDS[c].format(name)}"' for c in codes)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def tree(folder):
    """Return the content of every file of a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def judge_bytes(self, exchanges):
    """Judge by the sum of the bytes of the reply, so that both verdicts occur and every run gives the same ones."""
    return [
        Judgement(Verdict.REFUSED if sum(one.reply.encode()) % 2 else Verdict.ANSWERED, "bytes") for one in exchanges
    ]


def user_error(call):
    """Return the sentence of the UserError that a Python call raises."""
    with pytest.raises(UserError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert re.search(r"[.?]$", text)
    assert not re.search(r"--[a-z]", text), "the library must not name options of the command line"
    return text


def invoke(*arguments, **given):
    """Run the command line."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **given)


def succeed(*arguments, **given):
    """Run a command that must succeed, and return its output."""
    result = invoke(*arguments, **given)
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(*arguments, code=2):
    """Run a command that must fail, and return its one-sentence message."""
    result = invoke(*arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code
    assert "Traceback" not in result.output
    sentence = result.stderr.strip()
    assert "\n" not in sentence
    if code == 2:
        assert re.fullmatch(r"Error: .+[.?]", sentence)
        assert "`" not in sentence, "settings must be written as options"
    return sentence
