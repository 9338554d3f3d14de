"""Compare defences on the same rows with a paired bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import fmean

from babelguard.evaluation.outcome import ERRORS, MEASURES, Comparison, Row, groups_of
from babelguard.evaluation.statistics import paired_bootstrap
from babelguard.judges.base import Label, Verdict

# (defence, seed) -> language -> row id -> verdict
Verdicts = dict[tuple[str, int | None], dict[str, dict[str, Verdict]]]
# The defences that all others are compared with by default.
BASELINES = ("none", "written")


def pairs_of(defences: Sequence[str], pairs: Sequence[tuple[str, str]] | None) -> list[tuple[str, str]]:
    """Return the pairs of defences to compare, in order.

    Args:
        defences: All defences with replies.
        pairs: The pairs to compare. None compares every defence with the baselines, or with the first defence if there
            are no baselines.

    Raises:
        ValueError: If a pair names a defence without replies.
    """
    if pairs is None:
        bases = [base for base in BASELINES if base in defences] or list(defences[:1])
        # `written` is compared with `none`, but not `none` with `written`: each pair appears once.
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
) -> list[Comparison]:
    """Compute the difference a minus b in each group, over the languages in which all seeds of both were evaluated.

    Args:
        a: Name of the first defence.
        b: Name of the defence that is subtracted.
        rows: The rows of metrics.json. They give the groups of languages and the languages with too many unscored replies.
        verdicts: The verdicts of all defences.
        labels: Row id -> label.
        resamples: Number of bootstrap resamples.
        seed: Random seed of the bootstrap.

    Raises:
        ValueError: If the defences were evaluated on different rows.
    """
    runs = {run: by_language for run, by_language in verdicts.items() if run[0] in (a, b)}
    reference, *others = runs.values()
    shared = [language for language in reference if all(language in other for other in others)]
    if any(other[language].keys() != reference[language].keys() for other in others for language in shared):
        raise ValueError(f"'{a}' and '{b}' cannot be compared: they were not all evaluated on the same rows")
    unjudged = {row.language for row in rows if (row.defence, row.seed) in runs and row.unjudged}
    # The group of a language is the same in all runs, so one row per language is enough.
    marks = list({row.language: row for row in rows if row.language in shared}.values())
    of_a, of_b = (_errors([runs[run] for run in runs if run[0] == name], labels, shared) for name in (a, b))
    # A pair counts only if both replies were judged.
    of_a, of_b = ({key: one[key] for key in one if key in other} for one, other in ((of_a, of_b), (of_b, of_a)))
    found = []
    for group, members in groups_of(marks):
        languages = [row.language for row in members if row.language not in unjudged]
        labels_of = [{labels[row] for row in reference[language]} for language in languages]
        present = set().union(*labels_of)
        if not labels_of or present not in labels_of:
            # No languages are left, or no language has both harmful and harmless rows: there is no error to compare.
            continue
        change = paired_bootstrap(of_a, of_b, labels, resamples, seed, languages=languages)
        found.append(
            Comparison(
                a=a,
                b=b,
                group=group,
                mean=change.mean,
                low=change.low,
                high=change.high,
                resamples=change.resamples,
                significant=change.significant,
                only=MEASURES[present.pop()] if len(present) == 1 else None,
                left_out=tuple(row.language for row in members if row.language in unjudged),
            )
        )
    return found


def _errors(
    runs: Sequence[Mapping[str, Mapping[str, Verdict]]], labels: Mapping[str, Label], languages: Sequence[str]
) -> dict[tuple[str, str], float]:
    """Return (language, row id) -> share of a defence's seeds that make an error on the row. Unscored replies are left out."""
    found = {}
    for language in languages:
        for row in runs[0][language]:
            verdicts = [run[language][row] for run in runs if run[language][row] != Verdict.UNSCORED]
            if verdicts:
                found[language, row] = fmean(verdict in ERRORS[labels[row]] for verdict in verdicts)
    return found
