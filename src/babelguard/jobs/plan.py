"""The plan of a run: what it will do, and the estimated time on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import torch

from babelguard import engine, parallel
from babelguard.config import Settings
from babelguard.config.presets import PRESETS
from babelguard.config.sections import BEST
from babelguard.corpus import Corpus
from babelguard.defences import NoDefence
from babelguard.defences.written import WRITTEN_PROMPTS, prompt_text
from babelguard.jobs.cross_check import Judges
from babelguard.jobs.load_model import FSDP
from babelguard.jobs.prepare import Prepared
from babelguard.judges.base import title_of
from babelguard.judges.thoughts import begins_in_thought
from babelguard.languages import display_name
from babelguard.method.anchors import ANCHOR_PROMPTS
from babelguard.method.objective import needs_other_languages, needs_plain_states, needs_start_states
from babelguard.prompt.shapes import describe
from babelguard.prompt.slot import Slot

# Assumed number of tokens that a chat template writes after the soft prompt, beside the text of the user.
TEMPLATE_TOKENS = 10
# Rows per language whose length is measured.
MEASURED_ROWS = 16
# Number of decoding steps that `time_model` reports the time of.
DECODING_STEPS = 24
# Time of a training step, as a multiple of its forward pass.
FORWARD_AND_BACKWARD = 3


class Speed(NamedTuple):
    """Seconds per token of a forward pass, and seconds per row of 24 decoding steps at batch size 32."""

    forward: float
    decode: float


@dataclass(frozen=True)
class Plan:
    """Number of replies and estimated time. `minutes` is the total, which includes `minutes_of_baseline`."""

    anchor_replies: int
    validation_replies: int
    test_replies: int
    minutes: float
    minutes_of_baseline: float
    speed: Speed

    def lines(self, prepared: Prepared, slot: Slot) -> list[str]:
        """Return the plan as lines of text."""
        settings, chat, tested = prepared.settings, prepared.chat, prepared.test.languages
        evaluation, training = settings.evaluation, settings.training
        unseen = [code for code in tested if code not in prepared.languages]
        trained = ", ".join(display_name(code) for code in prepared.languages)
        dtype = str(chat.model.dtype).removeprefix("torch.")
        names = ", ".join(WRITTEN_PROMPTS)
        written = f"the written prompt with the lowest validation error ({names})"
        if evaluation.written != BEST:
            written = _quoted(prompt_text(evaluation.written))
        trains = "none: the written prompt is kept"
        if training.steps:
            work = f"{training.steps} steps of {training.batch_size} rows from {len(prepared.train.rows)} training rows"
            start = _start(settings)
            trains = f"{settings.preset}: {work} in {trained}, starting from {start}"
        lines = [
            f"Model      {chat.name} ({chat.base_id}), {dtype} on {chat.device.type}{_processes(settings.sharding)}",
            f"Prompt     {'up to ' if _unknown_start(settings) else ''}{slot.sentence()}",
            *([f"Chats      {describe(slot.shapes)}"] if slot.shapes else []),
            f"Baseline   {written}",
            f"Training   {trains}",
            f"Test       {len(prepared.test.rows)} rows in each of {len(tested)} languages"
            + (f"; held-out languages: {', '.join(display_name(code) for code in unseen)}" if unseen else ""),
            f"Work       {self.test_replies} test and {self.validation_replies} validation replies, "
            f"{self.anchor_replies} anchor replies",
            f"Length     {evaluation.reply_tokens}, {settings.selection.reply_tokens} and {settings.objective.anchor_tokens} "
            "tokens for English replies; up to 4 times as many for languages that need more tokens for the same text",
            f"Judge      {judges_line(prepared.judges)}",
            f"Time       about {max(1, round(self.minutes))} minutes (estimated); after Ctrl+C, the same command resumes",
            f"Output     {prepared.output}",
        ]
        if begins_in_thought(NoDefence().text(chat.tokenizer, "?")):
            lines.append(
                "Note       this model thinks before it answers, even if thinking is turned off; replies that are only a thought "
                "are unscored, so increase `evaluation.reply_tokens`"
            )
        if evaluation.rows is not None:
            by_preset = PRESETS[settings.preset].get("evaluation", {}).get("rows") == evaluation.rows
            by = f"preset {settings.preset}" if by_preset else "`evaluation.rows`"
            lines.append(
                f"Note       only {evaluation.rows} + {evaluation.rows} test rows per language ({by}), so the 95 % CIs are wide"
            )
        if evaluation.languages is None and len(tested) == evaluation.max_languages:
            lines.append(
                f"Note       at most {evaluation.max_languages} test languages (`evaluation.max_languages`); choose others with "
                "`evaluation.languages`"
            )
        return lines


def _unknown_start(settings: Settings) -> bool:
    """Whether the start prompt is the best written prompt, which is chosen during the run."""
    return settings.training.start is None and settings.evaluation.written == BEST


def _start(settings: Settings) -> str:
    """Name the prompt that training starts from."""
    if _unknown_start(settings):
        return "the baseline"
    return f"the written prompt '{settings.start}'" if settings.start in WRITTEN_PROMPTS else _quoted(settings.start)


def judges_line(judges: Judges) -> str:
    """Name the judge of the results and the judge that steps are selected by."""
    line = title_of(judges.main)
    if judges.selection.name != judges.main.name:
        line += f"; steps are selected by the judge '{title_of(judges.selection)}'"
    return line


def _processes(sharding: str) -> str:
    """Say how many processes work on the run, if there are several."""
    if parallel.world() == 1:
        return ""
    return f", {'shared by' if sharding == FSDP else 'in each of'} {parallel.world()} processes"


def _quoted(text: str) -> str:
    """Quote a text of the user. Backticks would be taken for the name of a setting."""
    return '"' + text.replace("`", "'") + '"'


def make_plan(prepared: Prepared, length: int, speed: Speed | None = None) -> Plan:
    """Count the replies and estimate the time.

    Args:
        prepared: The loaded inputs of the run.
        length: Number of soft tokens.
        speed: Speed of the model, if it is known. It is measured otherwise.
    """
    settings = prepared.settings
    objective, training = settings.objective, settings.training
    trained = training.steps > 0
    anchored = prepared.languages if objective.anchors == "training" else ("en",)
    anchors = 0
    if trained:
        rows = prepared.train.select(anchored, objective.anchor_rows).rows
        anchors = len(rows) * len(anchored) * (1 + len(ANCHOR_PROMPTS))
    by_validation = trained and settings.selection.keep == "validation"
    rounds = 1 + -(-training.steps // settings.selection.every) if by_validation else 0
    rounds += len(WRITTEN_PROMPTS) if settings.evaluation.written == BEST else 0
    validation = len(prepared.validation_questions) * rounds
    per_defence = len(prepared.test.rows) * len(prepared.test.languages)
    test_replies = per_defence * (3 if trained else 2)
    # Each process measures its own speed, and does its share of the work.
    speed = speed or parallel.lead(time_model, prepared.chat.model)[0]
    forward, decode = (seconds / parallel.world() for seconds in speed)
    lengths = prepared.mean_lengths()
    tested = chat_tokens(prepared.chat.tokenizer, prepared.test)
    seen = chat_tokens(prepared.chat.tokenizer, prepared.train.select(prepared.languages))
    chats = {"test": tested, "validation": seen, "anchor": seen}
    per_reply = {kind: chats[kind] * forward + decode * tokens / DECODING_STEPS for kind, tokens in lengths.items()}
    seconds = per_reply["test"] * test_replies + per_reply["validation"] * validation
    if trained:
        others = objective.alignment_languages if needs_other_languages(objective.weights) else 0
        seconds += per_reply["anchor"] * anchors
        step_tokens = length + seen * training.batch_size * (1 + others)
        seconds += training.steps * step_tokens * forward * FORWARD_AND_BACKWARD
        # The states that the losses compare with; see `babelguard.method.data.training_data`.
        pairs = len(prepared.train.rows) * len(prepared.languages)
        if needs_start_states(objective.weights):
            seconds += pairs * seen * forward
        if needs_plain_states(objective.weights):
            seconds += min(pairs, training.steps * training.batch_size) / 2 * seen * forward
    return Plan(
        anchor_replies=anchors,
        validation_replies=validation,
        test_replies=test_replies,
        minutes=seconds / 60,
        minutes_of_baseline=per_reply["test"] * 2 * per_defence / 60,
        speed=speed,
    )


def chat_tokens(tokenizer: Any, rows: Corpus) -> float:
    """Return the mean number of tokens of a chat after the soft prompt, estimated from the first rows of every language."""
    texts = [text for code in rows.languages for text in rows.texts(code)[:MEASURED_ROWS]]
    return TEMPLATE_TOKENS + fmean(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])


@torch.no_grad()
def time_model(model: Any) -> Speed:
    """Measure the speed of a model on a few tokens."""
    rows, length, steps = 32, 12, 3
    ids = min(1000, int(model.get_input_embeddings().weight.shape[0]) - 3)
    suffixes = [[(7 * row + k) % ids + 3 for k in range(length)] for row in range(rows)]
    prefix = engine.run_prefix(model, [2, 3, 4, 5])
    engine.last_states(model, prefix, suffixes)
    began = time.perf_counter()
    engine.last_states(model, prefix, suffixes)
    forward = (time.perf_counter() - began) / (rows * length)
    began = time.perf_counter()
    engine.generate(model, prefix, suffixes, max_new_tokens=steps + 1, stop_ids=[])
    decode = (time.perf_counter() - began - forward * rows * length) / (steps + 1) / rows * DECODING_STEPS
    return Speed(forward, max(decode, 0.0))
