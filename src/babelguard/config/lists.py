"""Lists of names and of languages in settings."""

from __future__ import annotations

from collections.abc import Sequence

from babelguard.languages import language


def as_list(values: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return a list of names that may be given as one text, separated by commas. None stays None."""
    return split_list(values) if isinstance(values, str) else None if values is None else tuple(values)


def split_list(text: str) -> tuple[str, ...]:
    """Split a list given as one text, separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def known_languages(codes: tuple[str, ...]) -> tuple[str, ...]:
    """Validate language codes and replace other codes by those in `languages.py`.

    Raises:
        UserError: For an unknown code.
        ValueError: If there are no codes, or a language occurs twice.
    """
    known = tuple(language(code).code for code in codes)
    if len(set(known)) != len(known):
        raise ValueError("a language is listed twice")
    if not known:
        raise ValueError("list at least one language")
    return known
