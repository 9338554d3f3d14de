"""Parallel prompts, harmful and harmless, in many languages: the shipped corpus and the user's own files."""

from babelguard.corpus.load import load_corpus, load_prompts
from babelguard.corpus.schema import Corpus, Row

__all__ = ["Corpus", "Row", "load_corpus", "load_prompts"]
