"""Ask the anchor queries, with a progress bar over all anchor prompts."""

from __future__ import annotations

from collections.abc import Sequence

from babelguard.corpus import Question
from babelguard.defences import Defence
from babelguard.evaluation.bench import Bench, Budgets
from babelguard.method.anchors import Anchors, collect_anchors
from babelguard.screen import Screen
from babelguard.targets import LocalModel


def ask_anchors(
    model: LocalModel,
    bench: Bench,
    questions: Sequence[Question],
    tokens: Budgets,
    screen: Screen,
    layer: int | None = None,
) -> Anchors:
    """Ask the anchor queries under every anchor prompt.

    Args:
        model: The model.
        bench: The logs.
        questions: The anchor queries.
        tokens: Maximum length of a reply by language.
        screen: Shows progress.
        layer: Layer of the safety space, or None for the state after the final norm.
    """
    with screen.progress("anchor replies") as (tick, _):

        def ask(defence: Defence, number: int, count: int) -> list[tuple[str, bool | None]]:
            def counted(done: int, total: int) -> None:
                tick(number * total + done, count * total)

            replies = bench.ask(defence, questions, tokens=tokens, tick=counted)
            return [(reply.verdict, reply.foreign) for reply in replies]

        return collect_anchors(model, questions, ask, layer)
