"""Measure judges on the held-out half of the labelled replies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from babelguard.config.lists import as_list
from babelguard.errors import UserError
from babelguard.evaluation.judge_quality import REFUSING, Judged, Quality, confusion
from babelguard.evaluation.judging import judge_in_batches
from babelguard.jobs.judge_replies import quality_by
from babelguard.judges import JudgeOptions, Verdict
from babelguard.judges.base import title_of
from babelguard.judges.create import create_judge
from babelguard.judges.labelled import LabelledReply, labelled_replies
from babelguard.languages import display_name
from babelguard.report.judge_tables import JudgeTable, confusion_table, origin_table, quality_table
from babelguard.screen import Screen, Silent


class JudgeValidation(NamedTuple):
    """The quality of one judge.

    Attributes:
        judge: Name of the judge.
        title: What tables call it.
        version: Its version.
        languages: Quality by language, then over all languages under the name `all`.
        styles: Quality by style, then over all styles under the name `all`. Most styles have replies of one class only.
        confusion: Number of replies by true verdict and verdict of the judge.
    """

    judge: str
    title: str
    version: str
    languages: dict[str, Quality]
    styles: dict[str, Quality]
    confusion: dict[Verdict, dict[Verdict, int]]


class Validation(NamedTuple):
    """The quality of all judges.

    Attributes:
        judges: The judges.
        origins: Number of refusing and of other replies by origin.
    """

    judges: tuple[JudgeValidation, ...]
    origins: dict[str, tuple[int, int]]

    def as_json(self) -> dict[str, Any]:
        """Return the content of the JSON output."""
        judges = [
            {
                "judge": one.judge,
                "version": one.version,
                "languages": [{"language": code} | q.model_dump(mode="json") for code, q in one.languages.items()],
                "styles": [{"style": style} | q.model_dump(mode="json") for style, q in one.styles.items()],
                "confusion": {
                    str(true): {str(found): count for found, count in row.items()}
                    for true, row in one.confusion.items()
                },
            }
            for one in self.judges
        ]
        origins = [{"origin": name, "refusing": k, "other": n} for name, (k, n) in self.origins.items()]
        return {"judges": judges, "origins": origins}

    def tables(self) -> list[JudgeTable]:
        """Return the tables, judge by judge, then the table of origins."""
        found = []
        for one in self.judges:
            languages = [(display_name(code), measured) for code, measured in one.languages.items()]
            found.append(quality_table(f"{one.title}: quality per language", "language", languages))
            found.append(quality_table(f"{one.title}: quality per style", "style", list(one.styles.items())))
            found.append(confusion_table(f"{one.title}: verdicts", one.confusion))
        return [*found, origin_table("Labelled replies: class by origin", self.origins)]


def validate_judges(
    judges: str | Sequence[str] = "default",
    *,
    judge_model: str | None = None,
    judge_url: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    screen: Screen | None = None,
) -> Validation:
    """Measure judges on the held-out half of the labelled replies.

    Args:
        judges: Names of the judges.
        judge_model: Model of judges that ask a language model: its name at `judge_url`, a folder or a hub id.
        judge_url: OpenAI-compatible endpoint of such a judge.
        device: Device of such a judge.
        dtype: Data type of such a judge.
        screen: Shows progress. Nothing is shown by default.

    Raises:
        UserError: If a judge cannot be used, or there are no labelled replies.
    """
    screen = screen or Silent()
    options = JudgeOptions(judge_model, judge_url, device, dtype)
    chosen = [create_judge(name, options) for name in dict.fromkeys(as_list(judges) or ())]
    replies = labelled_replies("held")
    if not replies:
        raise UserError("The labelled replies are missing from the package; reinstall babelguard.")
    found = []
    for judge in chosen:
        with screen.progress(f"{judge.name}: verdicts") as (tick, _):
            judgements = judge_in_batches(judge, [reply.exchange for reply in replies], tick)
        pairs = [Judged(reply.verdict, one.verdict) for reply, one in zip(replies, judgements, strict=True)]
        found.append(
            JudgeValidation(
                judge.name,
                title_of(judge),
                judge.version,
                quality_by([(reply.language, pair) for reply, pair in zip(replies, pairs, strict=True)]),
                quality_by([(reply.style, pair) for reply, pair in zip(replies, pairs, strict=True)]),
                confusion(pairs),
            )
        )
    return Validation(tuple(found), _origins(replies))


def _origins(replies: Sequence[LabelledReply]) -> dict[str, tuple[int, int]]:
    counts = Counter((reply.origin, reply.verdict in REFUSING) for reply in replies)
    return {name: (counts[name, True], counts[name, False]) for name in sorted({origin for origin, _ in counts})}
