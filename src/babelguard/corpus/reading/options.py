"""How the user says what the columns of a file mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from babelguard.corpus.header import column_of, language_code
from babelguard.errors import UserError
from babelguard.judges import LABELS
from babelguard.languages import language

# Keys of `columns` that are not languages. Indonesian is `id-ID`, as in babelguard's own format.
ID, TEXT, LANGUAGE = "id", "text", "language"


@dataclass(frozen=True)
class PromptOptions:
    """What the user says about files of prompts. Create it with `PromptOptions.of`, which checks it.

    Attributes:
        texts: Column of the prompts by language code.
        text: Column of the prompts of a file with one row per language.
        language: Column of the language of such a file.
        id: Column of the row ids.
        labels: The label of all rows: nothing, one for all files, or one per file.
        label_column: Column of the labels.
        harmful: Patterns of the harmful values of that column, such as `contrast*`. All other values are harmless.
        both_labels: Whether the rows must have both labels, so that one label for a whole file is of no use.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    language: str | None = None
    id: str | None = None
    labels: tuple[str, ...] = ()
    label_column: str | None = None
    harmful: tuple[str, ...] = ()
    both_labels: bool = False

    @classmethod
    def of(
        cls,
        columns: Mapping[str, str] | None = None,
        label: str | Sequence[str] | None = None,
        label_column: str | None = None,
        harmful: str | Sequence[str] = (),
    ) -> PromptOptions:
        """Check and create the options.

        Args:
            columns: Column by language code, such as `{"en": "goal"}`; also `id`, and `text` and `language` for a file
                with one row per language. Indonesian is `id-ID`.
            label: `harmful` or `harmless`, one for all files or one per file.
            label_column: Column of the labels.
            harmful: Patterns of harmful values of the label column.

        Raises:
            UserError: If a language or label is not known, or the options exclude each other.
        """
        given = dict(columns or {})
        special = {name: given.pop(name, None) for name in (ID, TEXT, LANGUAGE)}
        texts = {language(language_code(name)).code: column for name, column in given.items()}
        labels = (label,) if isinstance(label, str) else tuple(label or ())
        patterns = (harmful,) if isinstance(harmful, str) else tuple(harmful)
        if wrong := next((name for name in labels if name not in LABELS), None):
            raise UserError(f"The `label` is '{wrong}'; use {' or '.join(LABELS)}.")
        if labels and (label_column or patterns):
            other = "label_column" if label_column else "harmful"
            raise UserError(f"`label` is for whole files and excludes `{other}`; remove one of them.")
        if texts and special[TEXT]:
            raise UserError("`columns` has a language and text, which exclude each other; remove one of them.")
        return cls(texts, special[TEXT], special[LANGUAGE], special[ID], labels, label_column, patterns)

    @property
    def columns(self) -> dict[str, str]:
        """The columns by key, as given."""
        texts = {column_of(code): name for code, name in self.texts.items()}
        special = {ID: self.id, TEXT: self.text, LANGUAGE: self.language}
        return {key: name for key, name in {**texts, **special}.items() if name is not None}

    @property
    def named(self) -> tuple[str, ...]:
        """All columns that are named."""
        return (*self.columns.values(), *([self.label_column] if self.label_column else []))

    def __bool__(self) -> bool:
        return bool(self.named or self.labels or self.harmful)


def parse_columns(given: Sequence[str] | None) -> dict[str, str] | None:
    """Parse columns given as texts such as `en=goal`.

    Raises:
        UserError: If one has no `=`, or a language is named twice.
    """
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, column = (part.strip() for part in text.partition("="))
        if not (name and equals and column):
            raise UserError(f"The `columns` value '{text}' is not a language and a column, such as en=goal.")
        if name in found:
            raise UserError(f"`columns` names '{name}' twice; keep one of '{found[name]}' and '{column}'.")
        found[name] = column
    return found or None
