"""The requests of an evaluation: files of prompts, or a benchmark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from babelguard.benchmarks import Benchmark
from babelguard.corpus import Corpus, Question, questions
from babelguard.corpus.header import column_of
from babelguard.corpus.reading import PromptOptions, read_prompts
from babelguard.errors import UserError
from babelguard.files import write_text
from babelguard.judges import LABELS
from babelguard.registry import create, guarded, names
from babelguard.screen import Screen

PROMPTS = "prompts.jsonl"


@dataclass(frozen=True)
class Requests:
    """What a target is asked.

    Attributes:
        corpus: The rows. A row may lack some of the languages.
        languages: The languages, in order.
        name: Name for tables and folders.
        split: Name of the split for tables.
        as_read: Whether the rows are written beside the results, because the files are not in babelguard's format.
    """

    corpus: Corpus
    languages: tuple[str, ...]
    name: str
    split: str
    as_read: bool = False

    @property
    def questions(self) -> list[Question]:
        """The requests, language by language."""
        return questions(self.corpus, self.languages, self.split)

    def write(self, folder: Path) -> None:
        """Write the rows as they were read, so that the ids in the logs can be looked up."""
        if not self.as_read:
            return
        lines = []
        for row in self.corpus.rows:
            own = {"id": row.id, "label": row.label} | {column_of(code): text for code, text in row.texts.items()}
            lines.append(json.dumps({**(row.extra or {}), **own}, ensure_ascii=False) + "\n")
        # Other columns may contain halves of surrogate pairs, which cannot be encoded.
        text = "".join(lines).encode("utf-8", "backslashreplace").decode("utf-8")
        write_text(folder / PROMPTS, text)


def load_requests(
    prompts: Path | str | Sequence[Path | str] | None,
    benchmark: str | None,
    options: PromptOptions,
    languages: Sequence[str] | None,
    limit: int | None,
    screen: Screen,
) -> Requests:
    """Load the requests, and say on the screen what each file was taken for.

    Raises:
        UserError: If nothing is given, or a file or the benchmark cannot be read.
    """
    paths = [Path(prompts)] if isinstance(prompts, str | Path) else [Path(path) for path in prompts or ()]
    if benchmark is not None:
        if options:
            raise UserError("A benchmark has its own format; remove `columns`, `label`, `label_column` and `harmful`.")
        if len(paths) > 1:
            raise UserError("A benchmark reads one file; give `prompts` once.")
        found: Benchmark = create("benchmarks", benchmark)
        corpus = guarded("benchmarks", benchmark, found.load, paths[0] if paths else None)
        _check(corpus, benchmark)
        corpus = corpus.select(languages, limit)
        return Requests(corpus, corpus.languages, found.name, found.split)
    if not paths:
        raise UserError(f"No requests are given; set `prompts` or `benchmark` ({', '.join(names('benchmarks'))}).")
    read = read_prompts(paths, options, languages, limit)
    for line in read.lines:
        screen.say(line)
    if any(code not in row.texts for row in read.corpus.rows for code in read.languages):
        screen.say("The languages do not have the same rows, so their rates are not measured on the same prompts.")
    return Requests(read.corpus, read.languages, read.name, "user", as_read=not read.is_own_format)


def _check(corpus: Corpus, benchmark: str) -> None:
    """Check the rows that a benchmark of another package returns.

    Raises:
        UserError: If there are no rows, a label is unknown, or an id occurs twice.
    """
    ids = [row.id for row in corpus.rows]
    label = next((row.label for row in corpus.rows if row.label not in LABELS), None)
    if not ids or label is not None or len(set(ids)) < len(ids):
        what = "no rows" if not ids else f"the label '{label}'" if label is not None else "an id that occurs twice"
        raise UserError(f"The benchmark '{benchmark}' returned {what}; correct or reinstall its package.")
