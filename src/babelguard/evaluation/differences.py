"""Paired differences between defences: the same rows, and all translations of a row together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import fmean

from babelguard.evaluation.outcome import ERRORS, MEASURES, Compared, Row, groups_of
from babelguard.evaluation.statistics import Label, paired_bootstrap

# (defence, seed) -> language -> row id -> verdict
Verdicts = dict[tuple[str, int | None], dict[str, dict[str, str]]]
# What every defence is compared with unless the caller names the pairs.
BASELINES = ("none", "written")


def pairs_of(defences: Sequence[str], pairs: Sequence[tuple[str, str]] | None) -> list[tuple[str, str]]:
    """Which defences are compared, a with b, in order.

    Args:
        defences: All that were measured.
        pairs: As the caller names them; None for every defence against the baselines, or against the first.

    Raises:
        ValueError: if a named defence was not measured.
    """
    if pairs is None:
        bases = [base for base in BASELINES if base in defences] or list(defences[:1])
        # `written` is compared with `none`, but `none` with nothing: each pair stands once.
        return [(a, b) for b, a in product(bases, defences) if a not in bases[: bases.index(b) + 1]]
    if absent := next((name for pair in pairs for name in pair if name not in defences), None):
        raise ValueError(f"there are no replies of defence '{absent}'")
    return list(pairs)


def compare(
    a: str,
    b: str,
    rows: Sequence[Row],
    verdicts: Verdicts,
    labels: Mapping[str, Label],
    resamples: int,
    seed: int,
) -> list[Compared]:
    """The differences a minus b in each group, over the languages that every seed of both was measured in."""
    runs = {run: spoken for run, spoken in verdicts.items() if run[0] in (a, b)}
    reference, *others = runs.values()
    shared = [language for language in reference if all(language in other for other in others)]
    if any(other[language].keys() != reference[language].keys() for other in others for language in shared):
        raise ValueError(f"'{a}' and '{b}' cannot be compared: they were not all measured on the same rows")
    unjudged = {row.language for row in rows if (row.defence, row.seed) in runs and row.unjudged}
    # One row per language tells which group the language is in; every run says the same.
    marks = list({row.language: row for row in rows if row.language in shared}.values())
    of_a, of_b = (_errors([runs[run] for run in runs if run[0] == name], labels, shared) for name in (a, b))
    found = []
    for group, members in groups_of(marks):
        languages = [row.language for row in members if row.language not in unjudged]
        held = [{labels[row] for row in reference[language]} for language in languages]
        present = set().union(*held)
        if not held or present not in held:
            # Nothing is left, or harmful and harmless rows never meet in one language: no error to compare.
            continue
        change = paired_bootstrap(of_a, of_b, labels, resamples, seed, languages=languages)
        found.append(
            Compared(
                a=a,
                b=b,
                group=group,
                mean=change.mean,
                low=change.low,
                high=change.high,
                resamples=change.resamples,
                resolved=change.resolved,
                only=MEASURES[present.pop()] if len(present) == 1 else None,
                left_out=tuple(row.language for row in members if row.language in unjudged),
            )
        )
    return found


def _errors(
    runs: Sequence[Mapping[str, Mapping[str, str]]], labels: Mapping[str, Label], languages: Sequence[str]
) -> dict[tuple[str, str], float]:
    """(language, row id) -> share of a defence's runs (its seeds) that err on the row."""
    return {
        (language, row): fmean(run[language][row] in ERRORS[labels[row]] for run in runs)
        for language in languages
        for row in runs[0][language]
    }
