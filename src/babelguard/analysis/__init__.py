"""What languages have in common for one model: where attacks stand in its safety space, and how alike they look."""

from babelguard.analysis.analyse import analyse
from babelguard.analysis.coverage import choose_languages

__all__ = ["analyse", "choose_languages"]
