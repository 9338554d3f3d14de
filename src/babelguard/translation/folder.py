"""The output folder: whether it is one of ours, and what of earlier commands this one would take away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from babelguard.corpus import Row, load_prompts
from babelguard.errors import UserError
from babelguard.languages import display_name
from babelguard.translation.checks import BLOCKING, folded
from babelguard.translation.review import ReviewRow, read_review

OURS = ("translations.jsonl", "review.csv", "prompts.jsonl", "report.md")
# A folder with one of these is a translation; the other names of OURS stand in other folders as well.
_MARKS = OURS[:2]


def check_output(output: Path, path: Path, rows: Sequence[Row], codes: Sequence[str]) -> None:
    """Refuse a folder in which the files that this command writes would replace somebody's work.

    Args:
        output: The folder, which need not exist.
        path: The file that is translated.
        rows: Of that file.
        codes: Languages that it is translated into.

    Raises:
        UserError: where the folder cannot be read or is something else, where a file in it is damaged, belongs to
            another source file or holds a language that would be dropped.
    """
    names = _names(output)
    if path.resolve() in [(output / name).resolve() for name in OURS]:
        raise UserError(f"The file {path} would be overwritten by its translation; choose another --output.")
    if names and names.isdisjoint(_MARKS):
        raise UserError(f"The output folder {output} holds files that are no translation; choose another --output.")
    languages, texts = _earlier(output, names)
    if texts and texts.keys().isdisjoint((row.id, folded(row.texts["en"])) for row in rows):
        raise UserError(
            f"{next(iter(texts.values()))} belongs to another file than {path} (no id with the same English text is in "
            "both); choose another --output."
        )
    own = rows[0].texts.keys()
    dropped = [code for code in languages if code not in own and code not in codes]
    if dropped:
        every = dict.fromkeys([*(code for code in languages if code not in own), *codes])
        raise UserError(
            f"{languages[dropped[0]]} also holds {', '.join(map(display_name, dropped))}; give --to {','.join(every)} to "
            f"keep {'it' if len(dropped) == 1 else 'them'}, or another --output."
        )


def _names(output: Path) -> set[str]:
    try:
        if output.is_file():
            raise UserError(f"The output {output} is a file, not a folder; choose another --output.")
        return {file.name for file in output.iterdir()}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise UserError(
            f"The output folder {output} cannot be read ({error.strerror or error}); choose another --output."
        ) from None


def _earlier(output: Path, names: set[str]) -> tuple[dict[str, Path], dict[tuple[str, str], Path]]:
    """Languages, and ids with their English texts, each with the file that holds it."""
    prompts, review = output / "prompts.jsonl", output / "review.csv"
    languages: dict[str, Path] = {}
    texts: dict[tuple[str, str], Path] = {}
    if prompts.name in names:
        try:
            made = load_prompts(prompts)
        except UserError:
            what = "is damaged, so nobody knows what would be lost"
            raise UserError(f"{prompts} {what}; delete it, and the same command makes it anew.") from None
        languages = dict.fromkeys(made.languages, prompts)
        texts = {(row.id, folded(row.texts.get("en", ""))): prompts for row in made.rows}
    for row in read_review(review).values():
        texts.setdefault((row.id, folded(row.en)), review)
        if _would_be_missed(row):
            languages.setdefault(row.language, review)
    return languages, texts


def _would_be_missed(row: ReviewRow) -> bool:
    """Whether a line of the review file is worth keeping and would not be kept.

    What a person wrote stays in any case. A language of which nothing is usable may go: it would take all rows along.
    """
    return bool(row.machine) and not row.touched and not set(row.flags.split()) & set(BLOCKING)
