"""Say whether a difference between defences holds under all judges."""

from __future__ import annotations

from babelguard.evaluation.outcome import Comparison, Metrics
from babelguard.report.cells import points


def agreement_lines(metrics: Metrics) -> list[str]:
    """Return one sentence per pair of defences, over all languages. Empty if the result was judged by one judge only.

    Args:
        metrics: The metrics, with the differences under other judges.
    """
    if not metrics.other_judges or not metrics.rows:
        return []
    main = metrics.rows[0].judge
    by_judge = {main: metrics.differences} | {other.judge: other.differences for other in metrics.other_judges}
    found: dict[tuple[str, str], dict[str, Comparison]] = {}
    for judge, differences in by_judge.items():
        for one in differences:
            if one.group == "all":
                found.setdefault((one.a, one.b), {})[judge] = one
    return [_sentence(a, b, main, judged) for (a, b), judged in found.items() if main in judged]


def _sentence(a: str, b: str, main: str, judged: dict[str, Comparison]) -> str:
    numbers = ", ".join(f"{points(one.mean)} ({judge})" for judge, one in judged.items())
    agree = [judge for judge, one in judged.items() if one.significant and one.mean * judged[main].mean > 0]
    opposite = [judge for judge, one in judged.items() if one.significant and one.mean * judged[main].mean < 0]
    if len(agree) == len(judged):
        holds = "It is significant under all of these judges."
    elif main not in agree:
        holds = f"It is not significant under {main}."
    else:
        holds = f"It is significant under {', '.join(agree)} only."
    if opposite:
        holds += f" Under {', '.join(opposite)}, it is significant in the other direction."
    return f"{a} − {b}, error over all languages in percentage points: {numbers}. {holds}"
