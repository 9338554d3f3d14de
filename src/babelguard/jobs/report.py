"""Write the results of a run: report.md, the picture, and the safety prompt with its model card."""

from __future__ import annotations

from dataclasses import replace

from babelguard.config import Settings
from babelguard.evaluation.outcome import Metrics
from babelguard.files import write_text
from babelguard.jobs.run_folder import RunFolder
from babelguard.prompt import SafetyPrompt
from babelguard.report.agreement import agreement_lines
from babelguard.report.markdown import to_markdown
from babelguard.report.table import outcome_table


def write_report(run: RunFolder, metrics: Metrics, prompt: SafetyPrompt, settings: Settings) -> None:
    """Write the report, the picture (if matplotlib is installed), and the safety prompt with the table in its card."""
    table = to_markdown(outcome_table(metrics))
    rows = settings.evaluation.rows
    part = "" if rows is None else f"\nTested on a part of the test split: {rows} + {rows} rows per language.\n"
    prompt = replace(prompt, results=table + part)
    prompt.save_pretrained(run.prompt)
    picture = ""
    try:
        from babelguard.report.picture import draw_outcomes
    except ImportError:  # matplotlib is an extra
        pass
    else:
        if any(row.attack_success.rate is not None or row.false_refusal.rate is not None for row in metrics.rows):
            draw_outcomes(metrics, run.picture)
            picture = f"\n![Errors per language and defence]({run.picture.name})\n"
    judge = metrics.rows[0].judge if metrics.rows else settings.evaluation.judge
    text = (
        f"# {settings.preset} on {prompt.base_model}, seed {settings.seed}\n\n{table}{part}{picture}\n"
        f"Greedy replies of up to {settings.evaluation.reply_tokens} tokens in English, up to 4 times as many in languages that "
        f"need more tokens for the same text. Classified by the judge '{judge}'; steps were selected by the judge "
        f"'{settings.selection.judge}'. `k/n` with 95 % Wilson intervals.\n\n"
        + "".join(f"{line}\n\n" for line in agreement_lines(metrics))
        + f"{prompt.slot.sentence()}\n"
    )
    write_text(run.report, text)
