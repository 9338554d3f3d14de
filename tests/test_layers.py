"""The structure of the package: layers, no import cycles, and no command-line options outside the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import babelguard

ROOT = Path(babelguard.__file__).parent
PUBLIC = ["Metrics", "SafetyPrompt", "Settings", "analyse", "evaluate", "fit", "load_corpus", "unprotect"]

# From bottom to top. A module imports from its own part and from parts of lower layers only.
LAYERS = (
    ("errors",),
    ("endpoint", "files", "languages", "markdown", "registry", "screen"),
    ("language_id",),
    ("config",),
    ("models",),
    ("engine",),
    ("prompt",),
    ("judges",),
    ("corpus",),
    ("corpus.checking", "corpus.translation"),
    ("attacks", "defences"),
    ("benchmarks",),
    ("targets",),
    ("method", "evaluation"),
    ("report", "export"),
    ("analysis", "verification"),
    ("jobs",),
    ("cli",),
    ("__main__",),
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
# Options of other programs, and of a module that developers run directly.
FOREIGN_OPTIONS = {"--force-reinstall", "--no-deps", "--private", "--target"} | {
    # Servers of exported models.
    "--alias",
    "--chat-template-content-format",
    "--enable-lora",
    "--enable-prompt-embeds",
    "--jinja",
    "--lora-modules",
    "--lora-paths",
    "--lora-target-modules",
    "--max-lora-rank",
    "--model",
    "--model-path",
    "--port",
    "--reasoning",
    "--think",
    "--tokenizer",
    "--tokenizer-path",
}
OPTION = re.compile(r"--[a-z][a-z-]*")


def module_name(path: Path) -> str:
    """Return the dotted name of a module; a package has the name of its folder."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TEXTS = {name: path.read_text("utf-8") for name, path in FILES.items()}
TREES = {name: ast.parse(text) for name, text in TEXTS.items()}
MODULES = [name for name in FILES if name != "babelguard"]


def imports(name: str) -> Iterator[str]:
    """Yield the modules of babelguard that a module imports, anywhere in its code."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            if node.module is not None and node.module.split(".")[0] == "babelguard":
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield whole if whole in FILES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "babelguard")


def part(name: str) -> str:
    """Return the part of the package that a module belongs to."""
    first, *rest = name.split(".")[1:]
    below = ".".join([first, *rest[:1]])
    return below if below in LEVEL else first


def docstrings(tree: ast.Module) -> set[int]:
    """Return the ids of the nodes that are docstrings."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.add(id(first.value))
    return found


def test_every_module_has_a_layer():
    assert {part(name) for name in MODULES} == LEVEL.keys()


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_to_lower_layers(name):
    for imported in imports(name):
        if imported == "babelguard":  # for the version
            assert part(name) == "cli"
            continue
        here, there = part(name), part(imported)
        assert here == there or LEVEL[there] < LEVEL[here], f"{name} imports {imported}"


def test_no_import_cycles():
    """A module is removed once everything it imports is removed. The modules of a cycle remain."""
    waiting = {name: set(imports(name)) - {name} for name in FILES}
    while free := [name for name, needed in waiting.items() if not needed & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert not waiting


def test_the_cycle_check_finds_a_cycle(monkeypatch):
    monkeypatch.setitem(TREES, "babelguard.errors", ast.parse("def late():\n    from babelguard import files"))
    with pytest.raises(AssertionError):
        test_no_import_cycles()
    with pytest.raises(AssertionError):
        test_imports_go_to_lower_layers("babelguard.errors")


@pytest.mark.parametrize("name", [name for name in FILES if part(f"{name}.") != "cli"])
def test_no_options_outside_the_command_line(name):
    ignored = docstrings(TREES[name])
    texts = [
        node.value
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in ignored
    ]
    found = {option for text in texts for option in OPTION.findall(text)}
    assert found <= FOREIGN_OPTIONS


def test_no_options_in_templates():
    for path in ROOT.rglob("*.jinja"):
        assert not OPTION.findall(path.read_text("utf-8")), path


@pytest.mark.parametrize("name", FILES)
def test_modules_are_short(name):
    assert len(TEXTS[name].splitlines()) <= 250


def test_no_module_or_folder_is_called_utils():
    assert not [name for name in FILES if "utils" in name.split(".")]


def test_the_public_names():
    assert dir(babelguard) == PUBLIC
    for name in PUBLIC:
        assert callable(getattr(babelguard, name))
    with pytest.raises(AttributeError, match="has no attribute 'defend'"):
        babelguard.defend  # noqa: B018
