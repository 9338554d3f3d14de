"""The test split of babelguard's own corpus, or of another corpus in the same format."""

from __future__ import annotations

from pathlib import Path

from babelguard.corpus import Corpus, load_corpus, with_hard_rows
from babelguard.errors import UserError


class BabelguardCorpus:
    """100 harmful and 100 harmless requests in 29 languages, and 60 harmless ones that look harmful; see docs/corpus.md."""

    name = "babelguard-corpus"
    split = "test"

    def load(self, path: Path | None = None) -> Corpus:
        """Load the test split and the hard rows."""
        corpus = load_corpus(path)
        part = corpus.split(self.split)
        if not part.rows:
            raise UserError(f"The corpus {corpus.name} has no rows in the split '{self.split}'; choose another file.")
        return with_hard_rows(part, corpus)
