"""Combine translations and corrections into flagged cells, and cells into corpus rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from babelguard.corpus.header import METADATA, column_of
from babelguard.corpus.schema import Row
from babelguard.corpus.text import casefolded
from babelguard.corpus.translation import checks
from babelguard.corpus.translation.base import Engine, Translation
from babelguard.corpus.translation.review import ReviewRow


@dataclass
class Cell:
    """One row in one language.

    Attributes:
        row: The row of the file.
        language: Language code.
        machine: The machine translation.
        back: Its back-translation, or None if there was nothing to translate back.
        review: Its row in the review file, if there is one.
        chrf: chrF of the back-translation, or None if there is none.
        flags: Flags of this cell, from `checks.FLAGS`.
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
        """The correction if there is one, else the machine translation."""
        return self.review.correction if self.review is not None and self.review.correction else self.machine.text

    @property
    def blocking_flags(self) -> list[str]:
        """Flags that exclude the row from the corpus. A correction is not affected by flags of the machine translation."""
        after = ("duplicate", "source-changed")
        return [flag for flag in self.flags if flag in (after if self.corrected else checks.BLOCKING)]

    def review_row(self) -> ReviewRow:
        """Return its row of the review file.

        If a correction belongs to a different English text, that text is kept until a person changes it.
        """
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
    """Compute chrF and flags of all cells of one language.

    Args:
        cells: Cells in the order of the rows.
        min_chrf: Back-translations with a lower chrF are flagged.
    """
    good = {number: cell for number, cell in enumerate(cells) if cell.machine.status == "ok"}
    ratios = {number: len(cell.machine.text) / len(cell.english) for number, cell in good.items()}
    outliers = checks.length_outliers(ratios)
    for number, cell in enumerate(cells):
        cell.flags = [] if cell.machine.status == "ok" else [cell.machine.status]
        if number in good:
            _flag_machine(cell, min_chrf)
            cell.flags += ["length"] * (number in outliers)
        if cell.corrected and cell.review is not None and casefolded(cell.review.en) != casefolded(cell.english):
            cell.flags.append("source-changed")
    # Last, because cells that are excluded for other reasons cannot be duplicates.
    usable = [cell for cell in cells if not cell.blocking_flags]
    for number in checks.duplicates([(cell.text, cell.corrected) for cell in usable]):
        usable[number].flags.append("duplicate")
    for cell in cells:
        cell.flags.sort(key=checks.FLAGS.index)


def _flag_machine(cell: Cell, min_chrf: float) -> None:
    text = cell.machine.text
    if checks.wrong_script(cell.english, text, cell.language):
        cell.flags.append("script")
    if cell.back is not None and cell.back.status == "refused" and not checks.refusals_known(cell.language):
        # Either the back-translation was refused, or the translation was a refusal that the judge could not detect.
        cell.flags.append("refused")
        return
    # A back-translation that equals its source has the status `echo`. The source may still be English, so chrF would be
    # meaningless.
    if cell.back is None or cell.back.status != "ok":
        cell.flags.append("no-back")
        return
    cell.chrf = checks.chrf(cell.back.text, cell.english)
    if cell.chrf < min_chrf:
        cell.flags.append("low-chrf")


@dataclass(frozen=True)
class LeftOut:
    """A row that is not complete in all languages.

    Attributes:
        id: Id of the row.
        reasons: Flags by language.
    """

    id: str
    reasons: Mapping[str, Sequence[str]]


def corpus_rows(
    rows: Sequence[Row], cells: Mapping[str, Sequence[Cell]], engine: Engine
) -> tuple[list[dict[str, str]], list[LeftOut]]:
    """Create the corpus rows.

    Args:
        rows: Rows of the file.
        cells: Cells by language, in the order of the rows.
        engine: The translation engine.

    Returns:
        The rows that are complete in all languages, in the format of `load_corpus`, and the rows that are left out.
    """
    blocked = [
        {code: flags for code, column in cells.items() if (flags := column[k].blocking_flags)} for k in range(len(rows))
    ]
    kept = {row.id for row, reasons in zip(rows, blocked, strict=True) if not reasons}
    twins = {row.id: row.twin for row in rows}
    written, left = [], []
    for number, (row, reasons) in enumerate(zip(rows, blocked, strict=True)):
        if reasons:
            left.append(LeftOut(row.id, reasons))
            continue
        mine = {code: column[number] for code, column in cells.items()}
        texts = dict(row.texts) | {code: cell.text for code, cell in mine.items()}
        corrected = [code for code, cell in mine.items() if cell.corrected]
        metadata = {name: getattr(row, name) for name in METADATA} | {
            # A correction is derived from the machine translation, so the engine's licence applies to it too.
            "licence": _joined(row.licence, engine.licence),
            "maker": _joined(row.maker, f"translated by {engine.model}"),
            "checker": _joined(row.checker, f"corrected by a person: {', '.join(corrected)}" if corrected else None),
            # A twin is only kept if it is in the corpus and names this row.
            "twin": row.twin if row.twin in kept and twins[row.twin] == row.id else None,
        }
        written.append(
            {"id": row.id, "label": row.label}
            | {name: value for name, value in metadata.items() if value}
            | {column_of(code): text for code, text in texts.items()}
        )
    return written, left


def _joined(*parts: str | None) -> str | None:
    return "; ".join(part for part in parts if part) or None
