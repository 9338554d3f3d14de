"""What the experiments do before the first run: what is done, and what was asked for wrongly."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from babelguard.errors import UserError

FILE = Path(__file__).parents[1] / "experiments" / "planned.py"


@pytest.fixture(scope="module")
def planned():
    spec = importlib.util.spec_from_file_location("planned", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["planned"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["planned"]


def asked(output, **changes):
    return argparse.Namespace(
        **({"output": output, "only": None, "dtype": "auto", "limit": 50, "dry_run": True} | changes)
    )


def test_done_is_done_with_the_same_options_alone(planned, tmp_path, capsys):
    plan = [planned.Planned("mcd", 0, {"preset": "mcd"})]
    (tmp_path / "mcd-seed0").mkdir()
    (tmp_path / "mcd-seed0" / "config.json").write_text(json.dumps({"dtype": "auto", "limit": 50}))
    (tmp_path / "mcd-seed0" / "metrics.json").write_text("{}")
    assert planned.do(plan, asked(tmp_path)) is None
    assert "done" in capsys.readouterr().out
    with pytest.raises(UserError, match="done with limit = 50 and None is asked for"):
        planned.do(plan, asked(tmp_path, limit=None))


def test_a_run_that_is_not_planned(planned, tmp_path):
    plan = [planned.Planned("mcd", 0, {"preset": "mcd"})]
    with pytest.raises(UserError, match="no run with 'mdc-seed0'; there are mcd-seed0"):
        planned.do(plan, asked(tmp_path, only="mcd-seed0,mdc-seed0"))
