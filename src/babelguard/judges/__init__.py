"""Judges classify replies as refused, answered, broken or unscored, one file each; see `babelguard.judges.base`."""

from babelguard.judges.base import LABELS, Exchange, Judge, Judgement, Label, Verdict

__all__ = ["LABELS", "Exchange", "Judge", "Judgement", "Label", "Verdict"]
