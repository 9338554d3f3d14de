"""Report a result under other judges as well, because a defence that changes the style of replies can mislead one judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from babelguard.config.sections import Evaluation
from babelguard.errors import UserError
from babelguard.evaluation.outcome import Metrics, OtherJudge, ScoredReply
from babelguard.judges import Judge, JudgeOptions
from babelguard.judges.base import title_of
from babelguard.judges.create import create_judge
from babelguard.screen import Screen


class Judges(NamedTuple):
    """The judges of a run: `main` for the tables, `selection` for choosing prompts, `others` for comparison."""

    main: Judge
    selection: Judge
    others: tuple[Judge, ...]


def judge_options(evaluation: Evaluation, device: str, dtype: str) -> JudgeOptions:
    """Return what a judge needs to know that asks a language model."""
    return JudgeOptions(evaluation.judge_model, evaluation.judge_url, device, dtype)


def create_judges(main: str, selection: str, others: Sequence[str], options: JudgeOptions, screen: Screen) -> Judges:
    """Create the judges of a run. Other judges that cannot be created are named on the screen and left out.

    Raises:
        UserError: If the main judge or the judge for selection cannot be created.
    """
    chosen = create_judge(main, options)
    found = []
    for name in dict.fromkeys(others):
        if name == main:
            continue
        try:
            found.append(create_judge(name, options))
        except UserError as error:
            screen.say(f"Results are not compared with the judge '{name}': {error}")
    selecting = chosen if selection == main else create_judge(selection, options)
    # The default judge without an encoder is the pattern judge, so a comparison with it would say nothing.
    return Judges(chosen, selecting, tuple(one for one in found if _verdicts_of(one) != _verdicts_of(chosen)))


def _verdicts_of(judge: Judge) -> str:
    """Return the name of the judge whose verdicts a judge gives."""
    return str(getattr(judge, "same_as", judge.name))


def judged_again(
    metrics: Metrics,
    others: Sequence[Judge],
    ask: Callable[[Judge], list[ScoredReply]],
    compute: Callable[[list[ScoredReply], Judge], Metrics],
) -> Metrics:
    """Add the summaries and differences under other judges of the same replies.

    Args:
        metrics: The metrics under the main judge.
        others: The other judges.
        ask: Returns the replies with the verdicts of a judge.
        compute: Computes the metrics of these.
    """
    found = []
    for judge in others:
        again = compute(ask(judge), judge)
        found.append(OtherJudge(judge=title_of(judge), summary=again.summary, differences=again.differences))
    return metrics.model_copy(update={"other_judges": tuple(found)})
