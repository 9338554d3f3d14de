"""Parallel prompts, harmful and harmless, in many languages: the built-in corpus and your own files."""

from babelguard.corpus.load import load_corpus, load_prompts
from babelguard.corpus.questions import Question, questions
from babelguard.corpus.reading import PromptOptions, read_corpus, read_prompts
from babelguard.corpus.schema import Corpus, Row, with_hard_rows

__all__ = [
    "Corpus",
    "PromptOptions",
    "Question",
    "Row",
    "load_corpus",
    "load_prompts",
    "questions",
    "read_corpus",
    "read_prompts",
    "with_hard_rows",
]
