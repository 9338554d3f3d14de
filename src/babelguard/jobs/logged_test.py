"""The test replies of a run to its own safety prompt, and how they were judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from babelguard.errors import UserError
from babelguard.evaluation.judging import LoggedReply
from babelguard.evaluation.reply_length import reply_budgets
from babelguard.jobs.logged_replies import read_logged_run
from babelguard.jobs.open_target import settings_of
from babelguard.jobs.run_files import EvaluationSection, read_run_config
from babelguard.jobs.run_folder import RunFolder
from babelguard.judges import Judge, JudgeOptions
from babelguard.judges.create import create_judge
from babelguard.prompt import SafetyPrompt


@dataclass(frozen=True)
class LoggedTest:
    """Test replies.

    Attributes:
        replies: The replies.
        settings: How they were made and judged.
        base: Location of the base model, if it is known.
    """

    replies: tuple[LoggedReply, ...]
    settings: EvaluationSection
    base: str | None

    def budgets(self, tokenizer: Any) -> dict[str, int]:
        """Return the maximum length of a reply in tokens, by language."""
        codes = dict.fromkeys(one.exchange.language for one in self.replies)
        return reply_budgets(tokenizer, codes, self.settings.reply_tokens)

    def judge(self, device: str) -> Judge:
        """Create the judge of the results.

        Raises:
            UserError: If it cannot be created.
        """
        options = JudgeOptions(self.settings.judge_model, self.settings.judge_url, device, "auto")
        return create_judge(self.settings.judge, options)


def read_logged_test(folder: Path, exported: Path) -> LoggedTest:
    """Read the test replies of a run to its own safety prompt.

    Args:
        folder: The run folder.
        exported: The folder of the exported safety prompt.

    Raises:
        UserError: If the folder is not a run, has another safety prompt, or has no test replies.
    """
    run, config = RunFolder(folder), read_run_config(folder)
    if config is None or not run.prompt.is_dir():
        raise UserError(
            f"There is no finished run in {folder}; give the `run` that trained the exported safety prompt."
        )
    prompt = SafetyPrompt.from_pretrained(run.prompt)
    if not torch.equal(prompt.theta, SafetyPrompt.from_pretrained(exported).theta):
        raise UserError(f"The safety prompt of {folder} is not the exported one; give the `run` that trained it.")
    replies = tuple(one for one in read_logged_run(folder).replies if one.fields["defence"] == prompt.name)
    if not replies or not all(one.exchange.question for one in replies):
        raise UserError(f"The run in {folder} has no test replies with their questions; run its command again.")
    return LoggedTest(replies, config.evaluation, settings_of(run).get("base"))
