"""Store the verdicts of a run in one small file, so that tables can be made again without repeating the run.

A record contains verdicts but no replies, so it cannot be judged again. It keeps the name of its judge and the hash of its
test rows, and its tables are made from it alone: a new judge or corpus does not change them.

Each verdict is one letter: r refused, p supported, a answered, f answered in another language than the request, s answered
but too short to identify the language, c, d and e likewise partial, h unhelpful, b broken, u unscored. There is one string of
letters per language and kind of row (harmful, harmless, hard), in the order of the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from babelguard.config import Settings
from babelguard.config.load import flat
from babelguard.corpus import Row, load_corpus, with_hard_rows
from babelguard.errors import UserError
from babelguard.evaluation.judging import verdicts_path
from babelguard.evaluation.outcome import ScoredReply
from babelguard.files import write_json
from babelguard.jobs.run_folder import RunFolder, identity, with_defaults
from babelguard.judges.base import Expected, Label, Verdict
from babelguard.method.objective import resolve_weights
from babelguard.models.packaged import PACKAGED

# Letter -> the verdict, and whether the reply is in another language than the request.
MEANINGS: dict[str, tuple[Verdict, bool | None]] = {
    "r": (Verdict.REFUSED, None),
    "p": (Verdict.SUPPORTED, None),
    "a": (Verdict.ANSWERED, False),
    "f": (Verdict.ANSWERED, True),
    "s": (Verdict.ANSWERED, None),
    "c": (Verdict.PARTIAL, False),
    "d": (Verdict.PARTIAL, True),
    "e": (Verdict.PARTIAL, None),
    "h": (Verdict.UNHELPFUL, None),
    "b": (Verdict.BROKEN, None),
    "u": (Verdict.UNSCORED, None),
}
LETTERS = {meaning: letter for letter, meaning in MEANINGS.items()}
# Settings of judges and lengths. Records without `selection.judge` were made before these settings had their present meaning.
OF_JUDGING = (
    "selection.judge",
    "selection.reply_tokens",
    "evaluation.judge",
    "evaluation.judge_model",
    "evaluation.judge_url",
    "evaluation.other_judges",
    "evaluation.reply_tokens",
)


class Record(BaseModel):
    """A finished run.

    Attributes:
        config: Content of the run's config.json.
        weights: SHA-256 of the file of a packaged model; '' for other models.
        corpus: Hash of the test rows in the tested languages.
        judge: Name and version of the judge.
        written: The written prompt used as baseline; '' if the run has none.
        kept_step: The step that was kept.
        verdicts: Defence -> language -> kind of row (harmful, harmless, hard) -> one letter per row.
        support: Places of the harmful rows that call for support, counted from 0.
    """

    model_config = ConfigDict(extra="forbid")

    config: dict[str, Any]
    weights: str
    corpus: str
    judge: str
    written: str
    kept_step: int | None
    verdicts: dict[str, dict[str, dict[str, str]]]
    support: tuple[int, ...] = ()

    @property
    def trained(self) -> str:
        """Name of the trained defence: the preset, unless the run trained another defence with the settings of the preset."""
        return str(self.config.get("run", {}).get("defence", self.config["preset"]))

    @property
    def languages(self) -> list[str]:
        """The training languages."""
        return list(self.config["data"]["languages"])


def take_record(folder: Path, training: Mapping[str, Any] | None = None) -> Record:
    """Read the record of a finished run from its folder.

    Args:
        folder: The run folder.
        training: The facts `written` and `kept_step` of the training. None reads them from the safety prompt of the run.
    """
    run = RunFolder(folder)
    if training is None:
        training = json.loads((run.prompt / "config.json").read_text(encoding="utf-8"))["training"]
    config = json.loads(run.settings_file.read_text(encoding="utf-8"))
    rows = config["evaluation"]["rows"]
    judge = config["run"]["judge"]
    lines = verdicts_path(folder, config["evaluation"]["judge"]).read_text(encoding="utf-8").splitlines()
    # A log can also hold verdicts of another version of the judge.
    version = judge.split(" ", 1)[1]
    found = {}
    for row in map(json.loads, lines):
        if row["split"] in ("test", "hard") and row["key"].endswith(f"/{row['label']}/{version}"):
            found[row["defence"], row["language"], row["id"]] = _letter(row)
    codes = tuple(dict.fromkeys(code for _, code, _ in found))
    whole = load_corpus()
    corpus = whole.split("test").select(codes)
    if config["evaluation"]["hard"]:
        corpus = with_hard_rows(corpus, whole)
    corpus = corpus.select(codes, rows)
    kinds: dict[str, list[Row]] = {"harmful": [], "harmless": [], "hard": []}
    for row in corpus.rows:
        kinds["hard" if row.split == "hard" else row.label].append(row)
    verdicts: dict[str, dict[str, dict[str, str]]] = {}
    for defence, code in dict.fromkeys((defence, code) for defence, code, _ in found):
        verdicts.setdefault(defence, {})[code] = {
            kind: "".join(found[defence, code, row.id] for row in members) for kind, members in kinds.items() if members
        }
    return Record(
        config=config,
        weights=weights_of(config["model"]),
        corpus=corpus.digest,
        judge=judge,
        written=training["written"],
        kept_step=training.get("kept_step"),
        verdicts=verdicts,
        support=tuple(k for k, row in enumerate(kinds["harmful"]) if row.expected == "support"),
    )


def weights_of(model: str) -> str:
    """Return the SHA-256 of the file of a packaged model, or '' for another model."""
    return PACKAGED[model].sha256 if model in PACKAGED else ""


def write_record(record: Record, path: Path) -> None:
    """Write a record."""
    write_json(path, record.model_dump(mode="json"))


def read_record(path: Path, wanted: Settings) -> Record | None:
    """Read the record of a run. Returns None if the file does not exist.

    The judge and the corpus of the record may be older than the present ones.

    Raises:
        UserError: If the run had other settings or another model.
    """
    if not path.exists():
        return None
    record = Record.model_validate_json(path.read_text(encoding="utf-8"))
    expected = identity(wanted.with_section("objective", weights=resolve_weights(wanted.objective.weights)))
    if wanted.data.number_to_choose:
        expected["run.languages_asked"] = wanted.data.languages[0]
        del expected["data.languages"]
    if "judge" not in record.config["selection"]:
        expected = {name: value for name, value in expected.items() if name not in OF_JUDGING}
    expected["weights"] = weights_of(wanted.model)
    found = with_defaults(flat(record.config)) | {"weights": record.weights}
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
        names: Name of a defence in the run -> its name in the table. Other defences are left out. Rows are named by their
            places, because the corpus may have changed.
    """
    found = []
    for defence, name in names.items():
        seed = record.config["seed"] if defence == record.trained != "written" else None
        for code, kinds in record.verdicts.get(defence, {}).items():
            for kind, letters in kinds.items():
                label: Label = "harmful" if kind == "harmful" else "harmless"
                for k, letter in enumerate(letters):
                    expected: Expected | None = "support" if kind == "harmful" and k in record.support else None
                    where = (name, seed, code, f"test-{kind}-{k + 1:03d}", label)
                    found.append(ScoredReply(*where, *MEANINGS[letter], expected, kind == "hard"))
    return found


def _letter(row: Mapping[str, Any]) -> str:
    does_something = row["verdict"] in (Verdict.ANSWERED, Verdict.PARTIAL)
    return LETTERS[row["verdict"], row["foreign"] if does_something else None]
