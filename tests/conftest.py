"""What the tests share: tiny model folders made once, one thread, no network, and warnings that fail."""

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
    """The model folder of a family, written when it is first asked for."""
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
    """Model and tokenizer of a family, loaded once: tests must leave them as they were."""
    import tiny

    kept: dict[str, tuple[Any, Any]] = {}

    def load(name: str) -> tuple[Any, Any]:
        if name not in kept:
            kept[name] = tiny.load_family(folders(name))
        return kept[name]

    return load


@pytest.fixture(scope="module")
def judge_of_bytes() -> Iterator[None]:
    """Tiny models neither refuse nor answer: a judge of bytes stands in for the real one.

    They have no word that clearly opens the one or the other either, so any difference counts.
    """
    from calls import judge_bytes

    from babelguard.method import anchors
    from babelguard.judges import RefusalJudge

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RefusalJudge, "judge", judge_bytes)
        patch.setattr(anchors, "COMMON", 0.0)
        patch.setattr(anchors, "CLEARLY", 1.0)
        yield


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus and the settings that all runs share."""
    from calls import SETTINGS, write_corpus

    folder = tmp_path_factory.mktemp("given")
    (folder / "quick.toml").write_text(SETTINGS)
    write_corpus(folder / "corpus.csv")
    return folder


@pytest.fixture(scope="session")
def command(folders: Callable[[str], Path], files: Path) -> Callable[..., list[Any]]:
    """The arguments of a small `defend` for a family."""

    def build(name: str, output: Path, *more: Any) -> list[Any]:
        given = ["--config", files / "quick.toml", "--corpus", files / "corpus.csv", "--output", output]
        return ["defend", folders(name), "--languages", "en,da", "--steps", 6, *given, *more]

    return build


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny matrices are slower on many threads, and other jobs share the processors."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


class _Heard(logging.Handler):
    """Keeps the warnings of a library's logger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture(autouse=True)
def library_warnings() -> Iterator[list[str]]:
    """transformers warns through its logger: such a warning is an error of ours, wherever it is raised."""
    logger, heard = logging.getLogger("transformers"), _Heard()
    logger.addHandler(heard)
    logger.setLevel(logging.WARNING)
    yield heard.texts
    logger.removeHandler(heard)
    assert not heard.texts, heard.texts


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A real server that speaks the protocol of chat completions, for translations."""
    from translator import serve

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as running:
        yield running
