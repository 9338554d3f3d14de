"""Create judges by name."""

from __future__ import annotations

from babelguard.judges.base import Judge, JudgeOptions
from babelguard.registry import create


def create_judge(name: str, options: JudgeOptions | None = None) -> Judge:
    """Create the judge registered as `name` under the entry point group `babelguard.judges`.

    Args:
        name: Name of the judge.
        options: Passed to judges that have a class method `from_options`. Other judges are created without arguments.

    Raises:
        UserError: If there is no such judge, or it cannot be created.
    """
    judge: Judge = create("judges", name, options or JudgeOptions())
    return judge
