"""Read files of prompts that were not written for babelguard: CSV, TSV, JSON, JSONL, Parquet and plain text."""

from babelguard.corpus.reading.corpus_file import read_corpus
from babelguard.corpus.reading.options import PromptOptions
from babelguard.corpus.reading.prompts import Prompts, read_prompts

__all__ = ["PromptOptions", "Prompts", "read_corpus", "read_prompts"]
