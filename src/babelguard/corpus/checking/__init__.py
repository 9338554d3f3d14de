"""The checks of `babelguard corpus check`, which report all problems of a corpus at once."""

from babelguard.corpus.checking.options import CHECKS, CheckOptions
from babelguard.corpus.checking.report import Finding, Report
from babelguard.corpus.checking.run import check_corpus

__all__ = ["CHECKS", "CheckOptions", "Finding", "Report", "check_corpus"]
