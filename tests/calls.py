"""What the tests of the command line share: a small corpus, small settings, a judge of bytes, and calls."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from babelguard.cli.app import app
from babelguard.judges.patterns import Judgement, Verdict

SETTINGS = """
device = "cpu"
dtype = "float32"
anchor_rows = 4
anchor_tokens = 4
select_rows = 2
select_every = 3
reply_tokens = 4
train_batch = 4
prompt = "short"
prompt_length = 6
"""
WORDS = {
    "en": "Please explain {} to me",
    "da": "Forklar mig {}, tak",
    "ko": "{}에 대해 설명해 주세요",
    "cs": "Vysvětli mi prosím {}",
}


def write_corpus(path: Path, codes=("en", "da", "ko")) -> Path:
    """A corpus of all three splits in CSV."""
    lines = [",".join(["id", "label", "split", *codes])]
    for split, count in (("train", 5), ("validation", 2), ("test", 3)):
        for label in ("harmful", "harmless"):
            for number in range(count):
                name = f"{split}-{label}-{number}"
                lines.append(",".join([name, label, split, *(f'"{WORDS[c].format(name)}"' for c in codes)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def judge_bytes(self, reply, language, finished=True):
    """Refused or answered by the reply's bytes alone: the same in every run, and both occur."""
    return Judgement(Verdict.REFUSED if sum(reply.encode()) % 2 else Verdict.ANSWERED, "bytes")


def invoke(*arguments, **given):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **given)


def succeed(*arguments, **given):
    result = invoke(*arguments, **given)
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(*arguments, code=2):
    """The one sentence that a command ends with."""
    result = invoke(*arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code
    assert "Traceback" not in result.output
    sentence = result.stderr.strip()
    assert "\n" not in sentence
    if code == 2:
        assert re.fullmatch(r"Error: .+[.?]", sentence)
    return sentence
