"""Choose training languages so that each language is similar to one of them (greedy facility location)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def coverage(similarity: Tensor, chosen: Sequence[int]) -> float:
    """Return the mean over all languages of the similarity to the most similar chosen language.

    Args:
        similarity: Similarities between languages, [L, L].
        chosen: Indices of the chosen languages, at least one.
    """
    return float(similarity[:, list(chosen)].max(1).values.mean())


def choose_languages(similarity: Tensor, candidates: Sequence[int], count: int) -> list[int]:
    """Choose the languages with the highest coverage, greedily.

    Each step adds the candidate that increases the coverage most. The greedy choice reaches at least 1 - 1/e of the best
    possible gain (Nemhauser, Wolsey and Fisher, 1978). Ties go to the earlier candidate.

    Args:
        similarity: Similarities between languages, [L, L].
        candidates: Indices of the languages that may be chosen.
        count: Number of languages to choose.

    Returns:
        Indices in the order of choice.

    Raises:
        ValueError: If `count` is less than 1 or greater than the number of candidates.
    """
    if not 1 <= count <= len(candidates):
        raise ValueError(f"cannot choose {count} languages from {len(candidates)} candidates")
    chosen: list[int] = []
    while len(chosen) < count:
        left = [k for k in candidates if k not in chosen]
        chosen.append(max(left, key=lambda k: coverage(similarity, [*chosen, k])))
    return chosen
