"""Judges classify replies, one file each; see `babelguard.judges.base` for the contract."""

from babelguard.judges.base import LABELS, Exchange, Judge, Judgement, JudgeOptions, Label, Verdict

__all__ = ["LABELS", "Exchange", "Judge", "JudgeOptions", "Judgement", "Label", "Verdict"]
