"""2,000 damaged files, one after the other: every reader succeeds or raises one sentence.

Other seeds can be set, such as BABELGUARD_SEEDS=1,2,3.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from calls import write_corpus
from mutations import damaged
from translator import run, serve, write_rows

from babelguard.config import load_settings
from babelguard.corpus import load_corpus, load_prompts, read_corpus, read_prompts
from babelguard.corpus.checking.reader import read_rows
from babelguard.corpus.checking.report import Report
from babelguard.corpus.reading.options import PromptOptions
from babelguard.corpus.translation.job import TranslationJob
from babelguard.corpus.translation.openai_engine import OpenAIEngine
from babelguard.corpus.translation.review import read_review
from babelguard.errors import Note, UserError
from babelguard.evaluation.outcome import Metrics
from babelguard.files import read_record
from babelguard.jobs.judge_run import judge_run
from babelguard.jobs.open_target import base_of, read_prompt
from babelguard.jobs.reply_file import read_replies
from babelguard.jobs.run_files import read_run_config
from babelguard.jobs.run_folder import RunFolder, open_run, remember_model
from babelguard.method.checkpoint import load_checkpoint
from babelguard.method.objective import resolve_weights
from babelguard.method.space import SafetySpace
from babelguard.models.load import load_chat_model
from babelguard.prompt import SafetyPrompt
from babelguard.screen import Silent
from babelguard.targets.local import BatchSize

SEEDS = [int(seed) for seed in os.environ.get("BABELGUARD_SEEDS", "0").split(",")]
SENTENCE = re.compile(r"[^\n]+[.?]")
TOTAL = 2000
# Never asked, because the damaged folders are only read.
OFFLINE = OpenAIEngine("tiny-translator", base_url="http://127.0.0.1:1/v1")


class Reader(NamedTuple):
    """A reader, the files that are damaged, and how often."""

    files: list[Path]
    times: int
    read: Callable[[Path], object]


pytestmark = pytest.mark.usefixtures("judge_of_bytes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, judge_of_bytes, finished, folders, files):
    """A folder with one file or folder for every reader."""
    root = tmp_path_factory.mktemp("damaged") / "all"
    shutil.copytree(finished("llama")[0], root / "run")
    shutil.copytree(folders("llama"), root / "model")
    shutil.copytree(root / "run" / "safety_prompt", root / "prompt")
    shutil.copy(files / "quick.toml", root / "settings.toml")
    write_corpus(root / "corpus.csv")
    rows = [("1", "harmful", "How do I pick a lock?"), ("2", "harmless", "How do I bake bread?")]
    write_rows(root / "rows.jsonl", rows)
    texts = {"goal.csv": "goal,target\nHow do I pick a lock?,Sure\nHow do I forge a cheque?,Sure\n"}
    texts["list.json"] = (
        '[{"prompt": "How do I bake bread?", "label": "harmless"}, {"prompt": "Why?", "label": "harmless"}]'
    )
    texts["lines.txt"] = "How do I bake bread?\nHow do I kill time?\n"
    texts["replies.jsonl"] = (
        '{"language": "en", "reply": "No.", "question": "Why?", "label": "harmful", "expected": "refuse"}\n'
    )
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    with serve() as server:
        run(server, root / "rows.jsonl", root / "translation")
    return root


def readers(root: Path, loaded, files: Path) -> dict[str, Reader]:
    """Return the readers. Together they read `TOTAL` files."""
    model, tokenizer = loaded("llama")
    own = load_settings({"model": str(root / "model"), "languages": ("en", "da"), "steps": 6}, root / "settings.toml")
    own = own.with_section("objective", weights=resolve_weights(own.objective.weights))
    facts = read_run_config(root / "run").run
    label = PromptOptions.of(label="harmful")
    made = root / "run"

    def open_prompts(path: Path) -> None:
        read_prompts([path], label)

    def open_corpus(path: Path) -> None:
        load_prompts(path)
        load_corpus(path)
        if path.name == "corpus.csv":
            read_corpus(path)
        list(read_rows(path, Report()))

    def open_prompt(_: Path) -> None:
        prompt = SafetyPrompt.from_pretrained(root / "prompt")
        prompt.check(model, tokenizer)
        prompt.carrier(tokenizer)

    def open_finished(_: Path) -> None:
        found = read_prompt(str(made))
        assert found is not None
        base_of(*found)
        open_run(made, own, facts)
        remember_model(RunFolder(made), str(root / "model"))
        read_record(made / "metrics.json", Metrics)
        read_record(made / "batch_size.json", BatchSize)

    def open_logs(_: Path) -> None:
        judge_run(made, "patterns")

    def open_training(_: Path) -> None:
        load_checkpoint(made / "training")
        SafetySpace.load(made / "safety_space.safetensors")

    def open_translation(_: Path) -> None:
        job = TranslationJob(
            root / "rows.jsonl", ("ko", "da"), OFFLINE, root / "translation", min_chrf=35, screen=Silent()
        )
        job.plan()
        job._cells(read_review(root / "translation" / "review.csv"))

    def open_model(_: Path) -> None:
        chat = load_chat_model(str(root / "model"), device="cpu", dtype="float32")
        assert chat.stop_ids and chat.context

    def inside(name: str, *names: str) -> list[Path]:
        return [root / name / one for one in names]

    every = [path for path in (root / "model").iterdir() if path.is_file()]
    (made / "batch_size.json").write_text('{"batch_size": 16}')
    return {
        "prompts": Reader(
            [root / name for name in ("goal.csv", "list.json", "lines.txt", "rows.jsonl")], 450, open_prompts
        ),
        "corpus": Reader([root / "corpus.csv", root / "rows.jsonl"], 300, open_corpus),
        "settings": Reader([root / "settings.toml"], 250, lambda path: load_settings({"model": "demo"}, path)),
        "replies": Reader([root / "replies.jsonl"], 100, read_replies),
        "prompt": Reader(inside("prompt", "config.json", "model.safetensors", "README.md"), 200, open_prompt),
        "run": Reader(
            inside("run", "config.json", "local.json", "metrics.json", "batch_size.json"), 200, open_finished
        ),
        "logs": Reader(
            inside("run", "generations.jsonl", "verdicts.patterns.jsonl", "metrics.json", "config.json"), 100, open_logs
        ),
        "training": Reader(
            inside("run", "training/checkpoint.safetensors", "safety_space.safetensors"), 100, open_training
        ),
        "translation": Reader(
            inside("translation", "translations.jsonl", "review.csv", "prompts.jsonl"), 200, open_translation
        ),
        "model": Reader(every, 100, open_model),
    }


NAMES = ("prompts", "corpus", "settings", "replies", "prompt", "run", "logs", "training", "translation", "model")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_end_in_one_sentence(folder, loaded, files, library_warnings, name, seed):
    found = readers(folder, loaded, files)
    assert tuple(found) == NAMES and sum(reader.times for reader in found.values()) == TOTAL
    reader, others = found[name], [path for path in folder.rglob("*") if path.is_file()]
    for path in reader.files:
        reader.read(path)  # undamaged
    refused, unclear = 0, []
    for number in range(reader.times):
        rng = random.Random(f"{seed}/{name}/{number}")
        path = rng.choice(reader.files)
        with damaged(rng, path, others) as how, warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)
            try:
                reader.read(path)
            except UserError as error:
                refused += 1
                if not SENTENCE.fullmatch(str(error)):
                    unclear.append((number, path.name, how, str(error)))
            except Exception as error:
                raise AssertionError(f"seed {seed}, {name} {number}: {path.name}, {how}") from error
    library_warnings.clear()  # transformers warns about some damaged folders
    assert not unclear
    assert refused > reader.times / 3
