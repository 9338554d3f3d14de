"""The report of a run: the table, the picture, and the prompt with its card."""

from __future__ import annotations

from dataclasses import replace

from babelguard.config import Settings
from babelguard.evaluation.outcome import Metrics
from babelguard.evaluation.tables import markdown, sheet
from babelguard.run_folder import RunFolder, write_text
from babelguard.safety_prompt import SafetyPrompt


def write_report(run: RunFolder, metrics: Metrics, prompt: SafetyPrompt, settings: Settings) -> None:
    """Write report.md, the picture (where matplotlib is installed) and the safety prompt with the table in its card."""
    table = markdown(sheet(metrics))
    part = (
        ""
        if settings.limit is None
        else f"\nA part of the test split: {settings.limit} + {settings.limit} rows a language.\n"
    )
    prompt = replace(prompt, results=table + part)
    prompt.save_pretrained(run.prompt)
    picture = ""
    try:
        from babelguard.evaluation.picture import draw_outcomes
    except ImportError:  # matplotlib is an extra
        pass
    else:
        if any(row.harmful_answered.rate is not None or row.harmless_refused.rate is not None for row in metrics.rows):
            draw_outcomes(metrics, run.picture)
            picture = f"\n![Errors per language and defence]({run.picture.name})\n"
    text = (
        f"# {settings.preset} on {prompt.base_model}, seed {settings.seed}\n\n{table}{part}{picture}\n"
        f"Greedy replies of {settings.reply_tokens} tokens, judged by patterns of refusal in the language asked, in English and "
        "in the others. `k/n` with 95 % Wilson intervals. Broken replies count as errors on harmless rows.\n\n"
        f"{prompt.slot.sentence()}\n"
    )
    write_text(run.report, text)
