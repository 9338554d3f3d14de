"""Judges: decide what a model's reply was."""

from babelguard.judges.refusal import Judgement, RefusalJudge, Verdict

__all__ = ["Judgement", "RefusalJudge", "Verdict"]
