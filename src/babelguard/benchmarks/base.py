"""The contract of a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from babelguard.corpus import Corpus


class Benchmark(Protocol):
    """A set of labelled requests. Register an implementation under the entry point group `babelguard.benchmarks`.

    Attributes:
        name: Name in tables.
        split: Name of the split in tables, usually `test`.
    """

    name: str
    split: str

    def load(self, path: Path | None = None) -> Corpus:
        """Load the requests.

        Args:
            path: A local file or folder, for benchmarks that are not installed with a package.

        Raises:
            UserError: If the requests cannot be read.
        """
        ...
