"""From translations and corrections to cells with flags, and from cells to rows of a corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from babelguard.corpus.schema import INDONESIAN, METADATA, Row
from babelguard.translation import checks
from babelguard.translation.engine import Engine, Translation
from babelguard.translation.review import ReviewRow


@dataclass
class Cell:
    """One row in one language.

    Attributes:
        row: The row of the file.
        language: Code.
        machine: The machine's translation.
        back: Its back-translation; None where there was nothing to translate back.
        review: What the review file says about it, if anything.
        chrf: chrF of the back-translation; None where there is none.
        flags: What is wrong with it, of `checks.FLAGS`.
    """

    row: Row
    language: str
    machine: Translation
    back: Translation | None
    review: ReviewRow | None
    chrf: float | None = None
    flags: list[str] = field(default_factory=list)

    @property
    def english(self) -> str:
        """The English text."""
        return self.row.texts["en"]

    @property
    def corrected(self) -> bool:
        """Whether a person wrote a correction."""
        return self.review is not None and bool(self.review.correction)

    @property
    def text(self) -> str:
        """The text that counts: the correction, else the machine's."""
        return self.review.correction if self.review is not None and self.review.correction else self.machine.text

    @property
    def hindrances(self) -> list[str]:
        """Flags that keep it out of the corpus. Those of the machine's text do not count against a correction."""
        after = ("duplicate", "source-changed")
        return [flag for flag in self.flags if flag in (after if self.corrected else checks.BLOCKING)]

    def review_row(self) -> ReviewRow:
        """Its line of the review file. A correction of another English text keeps that text until a person agrees."""
        old = self.review
        return ReviewRow(
            id=self.row.id,
            language=self.language,
            en=old.en if old is not None and "source-changed" in self.flags else self.english,
            machine=self.machine.text,
            back=self.back.text if self.back is not None else "",
            chrf="" if self.chrf is None else f"{self.chrf:.1f}",
            flags=" ".join(self.flags),
            correction=old.correction if old is not None else "",
            note=old.note if old is not None else "",
        )


def flag_cells(cells: Sequence[Cell], min_chrf: float) -> None:
    """Work out chrF and flags of all cells of one language.

    Args:
        cells: In the order of the rows.
        min_chrf: Below it a back-translation is flagged.
    """
    good = {number: cell for number, cell in enumerate(cells) if cell.machine.status == "ok"}
    ratios = {number: len(cell.machine.text) / len(cell.english) for number, cell in good.items()}
    outliers = checks.length_outliers(ratios)
    for number, cell in enumerate(cells):
        cell.flags = [] if cell.machine.status == "ok" else [cell.machine.status]
        if number in good:
            _flag_machine(cell, min_chrf)
            cell.flags += ["length"] * (number in outliers)
        if cell.corrected and cell.review is not None and checks.folded(cell.review.en) != checks.folded(cell.english):
            cell.flags.append("source-changed")
    # Last: only what could stand in the corpus can take another row's place.
    standing = [cell for cell in cells if not cell.hindrances]
    for number in checks.duplicates([(cell.text, cell.corrected) for cell in standing]):
        standing[number].flags.append("duplicate")
    for cell in cells:
        cell.flags.sort(key=checks.FLAGS.index)


def _flag_machine(cell: Cell, min_chrf: float) -> None:
    text = cell.machine.text
    if checks.wrong_script(cell.english, text, cell.language):
        cell.flags.append("script")
    if cell.back is not None and cell.back.status == "refused" and not checks.refusals_known(cell.language):
        # Either the way back was refused, or a refusal that nobody could read was translated back: a person must look.
        cell.flags.append("refused")
        return
    # Also where the text came back as it was: then it may have been English in other words, and chrF would be high.
    if cell.back is None or cell.back.status != "ok":
        cell.flags.append("no-back")
        return
    cell.chrf = checks.chrf(cell.back.text, cell.english)
    if cell.chrf < min_chrf:
        cell.flags.append("low-chrf")


@dataclass(frozen=True)
class LeftOut:
    """A row that misses a language.

    Attributes:
        id: Of the row.
        reasons: Flags by language.
    """

    id: str
    reasons: Mapping[str, Sequence[str]]


def corpus_rows(
    rows: Sequence[Row], cells: Mapping[str, Sequence[Cell]], engine: Engine
) -> tuple[list[dict[str, str]], list[LeftOut]]:
    """The rows that have every language, as `load_corpus` reads them, and those that do not.

    Args:
        rows: Of the file.
        cells: By language, in the order of the rows.
        engine: Who translated.
    """
    hindered = [
        {code: cells[code][k].hindrances for code in cells if cells[code][k].hindrances} for k in range(len(rows))
    ]
    kept = {row.id for row, hindrances in zip(rows, hindered, strict=True) if not hindrances}
    twins = {row.id: row.twin for row in rows}
    written, left = [], []
    for number, (row, hindrances) in enumerate(zip(rows, hindered, strict=True)):
        if hindrances:
            left.append(LeftOut(row.id, hindrances))
            continue
        mine = {code: column[number] for code, column in cells.items()}
        texts = dict(row.texts) | {code: cell.text for code, cell in mine.items()}
        corrected = [code for code, cell in mine.items() if cell.corrected]
        metadata = {name: getattr(row, name) for name in METADATA} | {
            # A corrected text is derived from the machine's, so the engine's licence holds for it too.
            "licence": _joined(row.licence, engine.licence),
            "maker": _joined(row.maker, f"translated by {engine.model}"),
            "checker": _joined(row.checker, f"corrected by a person: {', '.join(corrected)}" if corrected else None),
            # A twin that was left out cannot be named, nor one that does not name this row.
            "twin": row.twin if row.twin in kept and twins[row.twin] == row.id else None,
        }
        written.append(
            {"id": row.id, "label": row.label}
            | {name: value for name, value in metadata.items() if value}
            | {INDONESIAN if code == "id" else code: text for code, text in texts.items()}
        )
    return written, left


def _joined(*parts: str | None) -> str | None:
    return "; ".join(part for part in parts if part) or None
