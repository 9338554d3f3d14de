"""Store the verdicts of a run in one small file, so that tables can be made again without repeating the run.

A record contains verdicts but no replies. Each verdict is one letter: r refused, a answered, f answered in another language
than the request, s answered but too short to identify the language, b broken, u unscored. There is one string of letters per
language and label, in the order of the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from babelguard.config import Settings
from babelguard.config.load import flat
from babelguard.corpus import load_corpus
from babelguard.errors import UserError
from babelguard.evaluation.outcome import ScoredReply
from babelguard.files import write_json
from babelguard.jobs.run_folder import RunFolder, identity, with_defaults
from babelguard.judges import Verdict
from babelguard.judges.patterns import PatternJudge
from babelguard.method.objective import resolve_weights
from babelguard.models.demo import adapter_fingerprint

# Letter -> the verdict, and whether the reply is in another language than the request.
MEANINGS: dict[str, tuple[Verdict, bool | None]] = {
    "r": (Verdict.REFUSED, None),
    "a": (Verdict.ANSWERED, False),
    "f": (Verdict.ANSWERED, True),
    "s": (Verdict.ANSWERED, None),
    "b": (Verdict.BROKEN, None),
    "u": (Verdict.UNSCORED, None),
}
LETTERS = {meaning: letter for letter, meaning in MEANINGS.items()}


class Record(BaseModel):
    """A finished run.

    Attributes:
        config: Content of the run's config.json.
        adapter: Hash of the demo model's adapter.
        corpus: Hash of the test rows in the tested languages.
        judge: Name and version of the judge.
        written: The written prompt used as baseline.
        kept_step: The step whose prompt was kept.
        verdicts: Defence -> language -> label -> one letter per row.
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
        """The preset, which is also the name of the trained defence."""
        return str(self.config["preset"])

    @property
    def languages(self) -> list[str]:
        """The training languages."""
        return list(self.config["data"]["languages"])

    @property
    def rows(self) -> int | None:
        """Test rows per label and language, or None for all."""
        rows: int | None = self.config["evaluation"]["rows"]
        return rows


def take_record(folder: Path) -> Record:
    """Read the record of a finished run from its folder."""
    run = RunFolder(folder)
    config = json.loads(run.settings_file.read_text(encoding="utf-8"))
    rows = config["evaluation"]["rows"]
    training = json.loads((run.prompt / "config.json").read_text(encoding="utf-8"))["training"]
    lines = (folder / f"verdicts.{PatternJudge.name}.jsonl").read_text(encoding="utf-8").splitlines()
    found = {}
    for row in map(json.loads, lines):
        if row["split"] == "test":
            found[row["defence"], row["language"], row["id"]] = _letter(row)
    verdicts: dict[str, dict[str, dict[str, str]]] = {}
    for defence, code in dict.fromkeys((defence, code) for defence, code, _ in found):
        ids = _row_ids(code, rows)
        letters = {label: "".join(found[defence, code, one] for one in row_ids) for label, row_ids in ids.items()}
        verdicts.setdefault(defence, {})[code] = letters
    return Record(
        config=config,
        adapter=adapter_fingerprint(),
        corpus=_corpus_digest(verdicts, rows),
        judge=judge(),
        written=training["written"],
        kept_step=training.get("kept_step"),
        verdicts=verdicts,
    )


def judge() -> str:
    """Return the name and version of the judge."""
    return f"{PatternJudge.name} {PatternJudge().version}"


def write_record(record: Record, path: Path) -> None:
    """Write a record."""
    write_json(path, record.model_dump(mode="json"))


def read_record(path: Path, wanted: Settings) -> Record | None:
    """Read the record of a run. Returns None if the file does not exist.

    Raises:
        UserError: If the run had other settings, another demo model, another judge or other test rows.
    """
    if not path.exists():
        return None
    record = Record.model_validate_json(path.read_text(encoding="utf-8"))
    expected = identity(wanted.with_section("objective", weights=resolve_weights(wanted.objective.weights)))
    if wanted.data.number_to_choose:
        expected["run.languages_asked"] = wanted.data.languages[0]
        del expected["data.languages"]
    expected |= {
        "adapter": adapter_fingerprint(),
        "corpus": _corpus_digest(record.verdicts, record.rows),
        "judge": judge(),
    }
    found = with_defaults(flat(record.config))
    found |= {"adapter": record.adapter, "corpus": record.corpus, "judge": record.judge}
    for name, value in expected.items():
        if found.get(name) != value:
            raise UserError(
                f"The record {path} was made with {name.removeprefix('run.')} = {found.get(name)!r}, but {value!r} is "
                "requested; choose another --records, or delete the file to repeat the run."
            )
    return record


def scored_replies(record: Record, names: Mapping[str, str]) -> list[ScoredReply]:
    """Return the verdicts of some defences under new names.

    Args:
        record: The run.
        names: Name of a defence in the run -> its name in the table. Other defences are left out.
    """
    found = []
    for defence, name in names.items():
        seed = record.config["seed"] if defence == record.preset != "written" else None
        for code, labels in record.verdicts.get(defence, {}).items():
            ids = _row_ids(code, record.rows)
            for label, letters in labels.items():
                for row_id, letter in zip(ids[label], letters, strict=True):
                    found.append(ScoredReply(name, seed, code, row_id, label, *MEANINGS[letter]))  # type: ignore[arg-type]
    return found


def _letter(row: Mapping[str, Any]) -> str:
    return LETTERS[row["verdict"], row["foreign"] if row["verdict"] == Verdict.ANSWERED else None]


def _corpus_digest(verdicts: Mapping[str, Mapping[str, Any]], rows: int | None) -> str:
    """Hash the test rows in the tested languages only, so that records stay valid when the corpus gains a language."""
    codes = tuple(dict.fromkeys(code for languages in verdicts.values() for code in languages))
    return load_corpus().split("test").select(codes, rows).digest


def _row_ids(code: str, limit: int | None) -> dict[str, Sequence[str]]:
    """Return the ids of the test rows of each label, in the order of the corpus."""
    rows = load_corpus().split("test").select([code], limit).rows
    return {label: [row.id for row in rows if row.label == label] for label in ("harmful", "harmless")}
