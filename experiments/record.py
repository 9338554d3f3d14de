"""The verdicts of a run in one small file that is kept with the code: tables can be made again without making the runs again.

A reply is never in it, only its verdict, as a letter: r refused, a answered, f answered in another language than the
question, s answered too shortly to tell its language, b broken, u unscored; one string a language and label, the rows in the
order of the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from babelguard.config.settings import Settings
from babelguard.corpus import load_corpus
from babelguard.errors import UserError
from babelguard.evaluation.outcome import ScoredReply, Verdict
from babelguard.judges import RefusalJudge
from babelguard.models.demo import adapter_fingerprint
from babelguard.jobs.run_folder import FREE, with_defaults, write_json

WORDS: dict[str, tuple[Verdict, bool | None]] = {
    "r": ("refused", None),
    "a": ("answered", False),
    "f": ("answered", True),
    "s": ("answered", None),
    "b": ("broken", None),
    "u": ("unscored", None),
}
LETTERS = {meaning: letter for letter, meaning in WORDS.items()}


class Record(BaseModel):
    """A run as it is kept.

    Attributes:
        config: The run's config.json: its settings, the model's fingerprint, the hash of the rows.
        adapter: Hash of the demo model's adapter.
        corpus: Hash of the test rows, in the languages that were asked.
        judge: Who judged.
        written: The text of the written prompt that the run was compared with.
        kept_step: The step whose prompt was kept.
        verdicts: defence -> language -> label -> a letter for each row.
    """

    model_config = ConfigDict(extra="forbid")

    config: dict[str, Any]
    adapter: str
    corpus: str
    judge: str
    written: str
    kept_step: int | None
    verdicts: dict[str, dict[str, dict[str, str]]]

    @property
    def preset(self) -> str:
        """Also the name of the run's own defence."""
        return str(self.config["preset"])


def take_record(run: Path) -> Record:
    """The record of a finished run folder."""
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    limit = config["limit"]
    training = json.loads((run / "safety_prompt" / "config.json").read_text(encoding="utf-8"))["training"]
    lines = (run / f"verdicts.{RefusalJudge.name}.jsonl").read_text(encoding="utf-8").splitlines()
    found = {}
    for row in map(json.loads, lines):
        if row["split"] == "test":
            found[row["defence"], row["language"], row["id"]] = _letter(row)
    verdicts: dict[str, dict[str, dict[str, str]]] = {}
    for defence, code in dict.fromkeys((defence, code) for defence, code, _ in found):
        ids = _ids(code, limit)
        letters = {label: "".join(found[defence, code, one] for one in row_ids) for label, row_ids in ids.items()}
        verdicts.setdefault(defence, {})[code] = letters
    return Record(
        config=config,
        adapter=adapter_fingerprint(),
        corpus=_digest(verdicts, limit),
        judge=judge(),
        written=training["written"],
        kept_step=training.get("kept_step"),
        verdicts=verdicts,
    )


def judge() -> str:
    """Who judges, with the version."""
    return f"{RefusalJudge.name} {RefusalJudge().version}"


def write_record(record: Record, path: Path) -> None:
    """Write a record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record.model_dump(mode="json"))


def read_record(path: Path, wanted: Settings) -> Record | None:
    """The record of a run, or None where there is none.

    Raises:
        UserError: where it was made with other settings, another demo model or other test rows.
    """
    if not path.exists():
        return None
    record = Record.model_validate_json(path.read_text(encoding="utf-8"))
    free = FREE | ({"languages"} if wanted.wanted_languages else set())
    settings = {name: value for name, value in wanted.model_dump(mode="json").items() if name not in free}
    corpus = _digest(record.verdicts, record.config["limit"])
    settings |= {"adapter": adapter_fingerprint(), "corpus": corpus, "judge": judge()}
    found = with_defaults(record.config) | {"adapter": record.adapter, "corpus": record.corpus, "judge": record.judge}
    if wanted.wanted_languages:
        settings["languages_asked"] = wanted.languages[0]
    for name, value in settings.items():
        if found.get(name) != value:
            raise UserError(
                f"{path} was made with {name} = {found.get(name)!r} and {value!r} is asked for; choose another --records, or "
                "delete the file to do the run again."
            )
    return record


def scored_replies(record: Record, names: Mapping[str, str]) -> list[ScoredReply]:
    """The verdicts of the defences that are named, under the names they shall have.

    Args:
        record: Of the run.
        names: Defence in the run -> name in the table; others are left out.
    """
    found = []
    for defence, name in names.items():
        seed = record.config["seed"] if defence == record.preset != "written" else None
        for code, labels in record.verdicts.get(defence, {}).items():
            ids = _ids(code, record.config["limit"])
            for label, letters in labels.items():
                for row_id, letter in zip(ids[label], letters, strict=True):
                    found.append(ScoredReply(name, seed, code, row_id, label, *WORDS[letter]))  # type: ignore[arg-type]
    return found


def _letter(row: Mapping[str, Any]) -> str:
    return LETTERS[row["verdict"], row["foreign"] if row["verdict"] == "answered" else None]


def _digest(verdicts: Mapping[str, Mapping[str, Any]], limit: int | None) -> str:
    """Of the test rows in the languages that were asked: a corpus may gain others without making old records strangers."""
    codes = tuple(dict.fromkeys(code for languages in verdicts.values() for code in languages))
    return load_corpus().split("test").select(codes, limit).digest


def _ids(code: str, limit: int | None) -> dict[str, Sequence[str]]:
    """The ids of the test rows of each label, in order."""
    rows = load_corpus().split("test").select([code], limit).rows
    return {label: [row.id for row in rows if row.label == label] for label in ("harmful", "harmless")}
