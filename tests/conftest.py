"""Shared fixtures: tiny model folders, one thread, no network, and warnings as errors."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the model folder of a family. It is written on the first call."""
    import tiny

    root = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tiny.save_family(name, root / f"{name}-chat")
        return made[name]

    return folder


@pytest.fixture(scope="session")
def loaded(folders: Callable[[str], Path]) -> Callable[[str], tuple[Any, Any]]:
    """Return model and tokenizer of a family. They are loaded once, so tests must not change them."""
    import tiny

    kept: dict[str, tuple[Any, Any]] = {}

    def load(name: str) -> tuple[Any, Any]:
        if name not in kept:
            kept[name] = tiny.load_family(folders(name))
        return kept[name]

    return load


@pytest.fixture(scope="module")
def judge_of_bytes() -> Iterator[None]:
    """Replace the judge, because the replies of tiny models are random text.

    No token clearly begins their refusals or answers, so any difference in probability counts.
    """
    from calls import judge_bytes

    from babelguard.judges.patterns import PatternJudge
    from babelguard.method import first_tokens

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PatternJudge, "judge", judge_bytes)
        patch.setattr(first_tokens, "COMMON", 0.0)
        patch.setattr(first_tokens, "RATIO", 1.0)
        patch.setattr(first_tokens, "CLEAR", 0.0)
        yield


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the corpus and the settings that all runs share, and return their folder."""
    from calls import SETTINGS, write_corpus

    folder = tmp_path_factory.mktemp("given")
    (folder / "quick.toml").write_text(SETTINGS)
    write_corpus(folder / "corpus.csv")
    return folder


@pytest.fixture(scope="session")
def command(folders: Callable[[str], Path], files: Path) -> Callable[..., list[Any]]:
    """Return a function that builds the arguments of a small `defend` for a family."""

    def build(name: str, output: Path, *more: Any) -> list[Any]:
        given = ["--config", files / "quick.toml", "--corpus", files / "corpus.csv", "--output", output]
        return ["defend", folders(name), "--languages", "en,da", "--steps", 6, *given, *more]

    return build


@pytest.fixture(scope="session")
def finished(
    command: Callable[..., list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, str]]:
    """Return a finished run of a family and its output. It is made once, so tests that change it must copy it."""
    from calls import succeed

    kept: dict[str, tuple[Path, str]] = {}

    def run(name: str) -> tuple[Path, str]:
        if name not in kept:
            folder = tmp_path_factory.mktemp("runs") / name
            kept[name] = folder, succeed(*command(name, folder))
        return kept[name]

    return run


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Use one thread: small matrices are slower on many threads."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


class _Recorder(logging.Handler):
    """Records the warnings of a logger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture(autouse=True)
def library_warnings() -> Iterator[list[str]]:
    """Fail if transformers logs a warning. A test may clear the list of recorded warnings."""
    logger, recorder = logging.getLogger("transformers"), _Recorder()
    logger.addHandler(recorder)
    logger.setLevel(logging.WARNING)
    yield recorder.texts
    logger.removeHandler(recorder)
    assert not recorder.texts, recorder.texts


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A local server with the chat completions protocol, for translations."""
    from translator import serve

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as running:
        yield running
