"""CI runs the commands of the README: what it replaces, and that it stops if a replacement no longer fits."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def readme():
    spec = importlib.util.spec_from_file_location("readme", ROOT / ".ci" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_the_quickstart_and_its_model_are_replaced_and_it_is_said(readme, capsys):
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    found = [command[-1] for command in readme.commands(page)]
    said = capsys.readouterr().out
    for old, new in readme.REPLACED:
        assert f"README: '{old}' is replaced by '{new}'" in said
        found = [command.replace(new, old) for command in found]
    blocks = "".join(content for _, content in readme.BLOCK.findall(page))
    assert len(found) >= 5
    assert all(command in blocks for command in found)


def test_a_readme_without_the_quickstart_stops_ci(readme):
    page = (ROOT / "README.md").read_text(encoding="utf-8").replace("make quickstart", "make something")
    with pytest.raises(SystemExit, match="do not contain 'make quickstart'"):
        readme.commands(page)
