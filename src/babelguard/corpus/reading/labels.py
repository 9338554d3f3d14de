"""Which rows of a file are harmful: one label for all, a column of labels, or patterns for the values of a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from babelguard.corpus.reading.known_files import KnownFile
from babelguard.corpus.reading.names import LABEL_NAMES, PROMPT_LABEL_NAMES, REPLY_NAMES, YES_NO_NAMES
from babelguard.corpus.reading.options import PromptOptions
from babelguard.corpus.reading.table import Record, Table, listed
from babelguard.errors import UserError
from babelguard.judges import LABELS

HARMFUL, HARMLESS = LABELS
_WORDS = {
    HARMFUL: ("harmful", "unsafe", "malicious", "toxic", "dangerous", "harmfulprompt"),
    HARMLESS: ("harmless", "unharmful", "nonharmful", "notharmful", "safe", "benign", "nontoxic", "notoxic"),
}
_LABEL_OF = {word: label for label, words in _WORDS.items() for word in words}
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no")


@dataclass(frozen=True)
class LabelRule:
    """How a row is labelled.

    Attributes:
        label: The label of all rows, if there is only one.
        column: Column of the labels.
        meanings: Label by value of the column, in lower case.
    """

    label: str | None = None
    column: str | None = None
    meanings: Mapping[str, str] | None = None

    def of(self, record: Record) -> str | None:
        """Return the label of a row, or None if its cell is empty."""
        if self.label is not None:
            return self.label
        assert self.column is not None
        assert self.meanings is not None
        value = record.cells[self.column].strip()
        return self.meanings[value.casefold()] if value else None

    def described(self) -> str:
        """Describe where the labels come from."""
        return "" if self.column is None else f"labels from the column '{self.column}'"


def label_rule(table: Table, known: KnownFile | None, options: PromptOptions, label: str | None) -> LabelRule:
    """Decide how the rows are labelled.

    Args:
        table: The file.
        known: The published file that it was recognised as.
        options: What the user says.
        label: The label of the whole file, if the user names one.

    Raises:
        UserError: If nothing says which rows are harmful, or a value is not understood.
    """
    if label is not None:
        return LabelRule(label=label)
    if options.label_column is not None:
        column = table.find(options.label_column)
        if column is not None:
            return _by_column(table, column, options.harmful)
    column = _label_column(table, known)
    if options.harmful and options.label_column is None:
        if column is None:
            raise UserError(f"{table.described()}, and none is known as a label column; set `label_column`.")
        return _by_column(table, column, options.harmful)
    if column is not None:
        return _by_column(table, column, known.harmful if known is not None and known.label_column else ())
    if known is not None and known.label is not None:
        return LabelRule(label=known.label)
    advice = [] if options.both_labels else ["`label` to harmful or harmless for the whole file"]
    advice += ["`label_column` to the column of the labels"] if len(table.columns) > 1 or options.both_labels else []
    what = "nothing says which prompts are harmful"
    raise UserError(f"{table.described()}, and {what}; set {', or '.join(advice)}.")


def _label_column(table: Table, known: KnownFile | None) -> str | None:
    if known is not None and known.label_column is not None:
        return table.find(known.label_column)
    given = {name.casefold(): name for name in table.columns}
    # With a reply, a label is about the reply unless its name says otherwise.
    with_reply = any(name in given for name in REPLY_NAMES)
    # In a published file with one label, only a column `label` can say something else.
    one_label = known is not None and known.label is not None
    wanted = PROMPT_LABEL_NAMES if with_reply else ("label",) if one_label else LABEL_NAMES
    if found := next((given[name] for name in wanted if name in given), None):
        return found
    if with_reply or one_label:
        return None
    return next((given[name] for name in YES_NO_NAMES if name in given), None)


def _by_column(table: Table, column: str, patterns: Sequence[str]) -> LabelRule:
    values = list(dict.fromkeys(value.casefold() for value in table.values(column)))
    if not values:
        raise UserError(f"The label column '{column}' of {table.path} is empty; set another `label_column`.")
    if patterns:
        wanted = [pattern.strip().casefold() for pattern in patterns]
        unused = next((one for one in wanted if not any(fnmatchcase(value, one) for value in values)), None)
        if unused is not None:
            raise UserError(
                f"No value of the label column '{column}' of {table.path} matches the `harmful` pattern '{unused}'; the values "
                f"are {listed(table.values(column))}."
            )
        meanings = {value: HARMFUL if any(fnmatchcase(value, one) for one in wanted) else HARMLESS for value in values}
        return LabelRule(column=column, meanings=meanings)
    found = {value: _meaning(column, value) for value in values}
    strange = next((value for value in table.values(column) if found[value.casefold()] is None), None)
    if strange is not None:
        raise UserError(
            f"The label column '{column}' of {table.path} has the value '{strange}', which is not known as a label (its values "
            f"are {listed(table.values(column))}); set `harmful` to the values that are harmful, or another `label_column`."
        )
    return LabelRule(column=column, meanings={value: label for value, label in found.items() if label is not None})


def _meaning(column: str, value: str) -> str | None:
    """Return the label that a value stands for, or None."""
    word = "".join(char for char in value if char.isalnum())
    if word in _LABEL_OF:
        return _LABEL_OF[word]
    yes = YES_NO_NAMES.get(column.casefold())
    if yes is None or value not in (*_YES, *_NO):
        return None
    return yes if value in _YES else next(label for label in LABELS if label != yes)
