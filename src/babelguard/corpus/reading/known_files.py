"""Published files of prompts, recognised by their columns. docs/corpus.md lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch

from babelguard.corpus.reading.names import ID_NAMES, column_code
from babelguard.corpus.reading.table import Table

_SAYS_HARMLESS = re.compile(r"benign|harmless|(?<!un)safe(?!ty|tests)")
_XSTEST_TYPES = (
    "contrast_*",
    "homonyms",
    "figurative_language",
    "safe_targets",
    "safe_contexts",
    "definitions",
    "real_group_nons_discr",
    "nons_group_real_discr",
    "historical_events",
    "privacy_public",
    "privacy_fictional",
)


@dataclass(frozen=True)
class KnownFile:
    """A published file.

    Attributes:
        name: Its name.
        columns: Columns that it must have, in lower case.
        text: Column of the prompts; None if they are in one column per language, or in the only column.
        label: The label of all rows, if the file has only one. Files with other labels have a column for them.
        label_column: Column of the labels.
        harmful: Patterns of the harmful values of the label column, if they are not labels.
        exact: Whether it has no other columns than these, an index and languages.
        values: Patterns, one of which every value of a column must match.
        files: Patterns of its file name, in lower case, if the columns do not identify it.
        id, context: Columns of the row ids and of a text that precedes the prompt.
    """

    name: str
    columns: tuple[str, ...] = ()
    text: str | None = None
    label: str | None = None
    label_column: str | None = None
    harmful: tuple[str, ...] = ()
    exact: bool = False
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    id: str | None = None
    context: str | None = None


KNOWN_FILES = (
    KnownFile("MultiJail", ("id", "source", "en", "zh"), label="harmful", id="id"),
    KnownFile(
        "PolyGuardPrompts", ("prompt", "prompt_harm_label", "language"), "prompt", label_column="prompt_harm_label"
    ),
    KnownFile("WildGuardMix", ("prompt", "prompt_harm_label"), "prompt", label_column="prompt_harm_label"),
    KnownFile("XSTest", ("prompt", "type", "label"), "prompt", label_column="label", values={"type": _XSTEST_TYPES}),
    KnownFile(
        "XSTest",
        ("prompt", "type"),
        "prompt",
        label_column="type",
        harmful=("contrast_*",),
        values={"type": _XSTEST_TYPES},
    ),
    KnownFile(
        "HarmBench",
        ("behavior", "functionalcategory", "behaviorid"),
        "behavior",
        "harmful",
        id="behaviorid",
        context="contextstring",
    ),
    KnownFile("Do-Not-Answer", ("risk_area", "types_of_harm", "question"), "question", "harmful", id="id"),
    KnownFile("StrongREJECT", ("category", "source", "forbidden_prompt"), "forbidden_prompt", "harmful"),
    KnownFile("StrongREJECT", ("category", "forbidden_prompt"), "forbidden_prompt", "harmful"),
    KnownFile("Aya red-teaming", ("prompt", "harm_category", "language", "literal_translation"), "prompt", "harmful"),
    KnownFile("SimpleSafetyTests", ("harm_area", "prompts_final"), "prompts_final", "harmful", id="id"),
    KnownFile("JailbreakBench", ("goal", "target", "behavior"), "goal", "harmful", files=("*harmful*",)),
    KnownFile("JailbreakBench", ("goal", "target", "behavior"), "goal", "harmless", files=("*benign*",)),
    KnownFile("JailbreakBench", ("goal", "target", "behavior"), "goal"),
    KnownFile("AdvBench", ("goal", "target"), "goal", "harmful", exact=True),
    KnownFile("AdvBench", ("prompt", "target"), "prompt", "harmful", exact=True, files=("*advbench*",)),
    KnownFile("MaliciousInstruct", label="harmful", files=("*malicious*instruct*",)),
)


def recognise(table: Table) -> KnownFile | None:
    """Return the published file that a table has the columns of, or None."""
    return next((known for known in KNOWN_FILES if _matches(known, table)), None)


def _matches(known: KnownFile, table: Table) -> bool:
    given = {name.casefold(): name for name in table.columns}
    if not all(name in given for name in known.columns):
        return False
    if known.files and not any(fnmatch(table.path.stem.casefold(), pattern) for pattern in known.files):
        return False
    if not known.columns and len(table.columns) > 1:
        return False
    others = [name for low, name in given.items() if low not in known.columns]
    if known.exact and not all(_is_index(name) or column_code(name) for name in others):
        return False
    # Do not take a file for a set of harmful prompts if its name says that it is harmless.
    if known.label == "harmful" and _SAYS_HARMLESS.search(table.path.stem.casefold()):
        return False
    for column, patterns in known.values.items():
        values = [value.casefold() for value in table.values(given[column])]
        if not values or not all(any(fnmatch(value, pattern) for pattern in patterns) for value in values):
            return False
    return True


def _is_index(name: str) -> bool:
    return name.casefold() in ID_NAMES or name.startswith(("Unnamed: ", "column "))
