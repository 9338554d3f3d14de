"""The result of an analysis, as data."""

from __future__ import annotations

from pydantic import BaseModel

from babelguard.evaluation.outcome import Cell


class LanguageResult(BaseModel):
    """One language under one defence.

    Attributes:
        language: Code of the language.
        defence: Name of the defence.
        auroc_english: AUROC of the harmfulness head fitted on English anchors.
        auroc_own: Cross-validated AUROC of a head fitted on this language, on 16 directions of the states.
        distance: Distance to the centre of English, in standard deviations within a language.
        attack_success: Errors on harmful rows.
        false_refusal: Errors on harmless rows.
    """

    language: str
    defence: str
    auroc_english: float
    auroc_own: float
    distance: float
    attack_success: Cell
    false_refusal: Cell


class Analysis(BaseModel):
    """The content of analysis.json.

    Attributes:
        model: Name of the model.
        split: Name of the split.
        harmful: Number of harmful rows per language.
        harmless: Number of harmless rows per language.
        explained: Share of the variance of the anchor states that the safety space explains, in [0, 1].
        results: Results per language and defence.
        languages: Codes, in the order of the rows and columns of `correlation`.
        correlation: Pearson correlation of attack features between languages, without a prompt.
        recommended: Training languages in the order of choice. The first k are the recommended set of k languages.
        not_separable: Languages that are not recommended, because harmful and harmless rows are not separable in them.
        coverage: Entry k - 1 is the mean over languages of the correlation with the most similar of the first k
            recommended languages.
    """

    model: str
    split: str
    harmful: int
    harmless: int
    explained: float
    results: list[LanguageResult]
    languages: list[str]
    correlation: list[list[float]]
    recommended: list[str]
    not_separable: list[str]
    coverage: list[float]
