"""Judges decide what a reply was. Each judge is one file; see `babelguard.judges.base` for the contract."""

from babelguard.judges.base import Exchange, Judge, Judgement, Label, Verdict

__all__ = ["Exchange", "Judge", "Judgement", "Label", "Verdict"]
