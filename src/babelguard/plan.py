"""What a run will do, and about how long it takes on this machine: the first screen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from babelguard import engine
from babelguard.config import Settings
from babelguard.languages import display_name
from babelguard.prepare import Prepared
from babelguard.presets import PRESETS
from babelguard.slot import Slot
from babelguard.written import BEST, WRITTEN_PROMPTS, prompt_text


@dataclass(frozen=True)
class Plan:
    """Counts of what will be done. `minutes` are for everything, `minutes_of_baseline` a part of them."""

    settings: Settings
    train_rows: int
    test_rows: int
    test_languages: tuple[str, ...]
    anchor_replies: int
    validation_replies: int
    test_replies: int
    minutes: float
    minutes_of_baseline: float

    def lines(self, on: Prepared, slot: Slot) -> list[str]:
        """The first screen, in sentences."""
        settings, chat = self.settings, on.chat
        unseen = [code for code in self.test_languages if code not in settings.languages]
        trained = ", ".join(display_name(code) for code in settings.languages)
        dtype = str(chat.model.dtype).removeprefix("torch.")
        names = ", ".join(WRITTEN_PROMPTS)
        written = f"the best of the written prompts {names} on validation replies"
        if settings.prompt != BEST:
            written = f'"{prompt_text(settings.prompt)}"'
        training = "none: the written prompt is kept as it is"
        if settings.steps:
            work = f"{settings.steps} steps of {settings.train_batch} rows, drawn from {self.train_rows} rows"
            start = settings.starts_from
            begin = f"the written prompt '{start}'" if start in WRITTEN_PROMPTS else f'"{start}"'
            training = f"{settings.preset}: {work} in {trained}, from {begin}"
        lines = [
            f"Model      {chat.name} ({chat.base_id}), {dtype} on {chat.device.type}",
            f"Prompt     {slot.sentence()}",
            f"Baseline   {written}",
            f"Training   {training}",
            f"Test       {self.test_rows} rows in each of {len(self.test_languages)} languages"
            + (f"; never trained on: {', '.join(display_name(code) for code in unseen)}" if unseen else ""),
            f"Work       {self.test_replies} test and {self.validation_replies} validation replies of "
            f"{settings.reply_tokens} tokens, {self.anchor_replies} anchor replies of {settings.anchor_tokens}",
            f"Time       about {max(1, round(self.minutes))} minutes on this machine, as measured on a few replies; stop "
            "with Ctrl+C, and the same command resumes",
            f"Output     {on.output}",
        ]
        if settings.limit is not None:
            by = f"preset {settings.preset}" if PRESETS[settings.preset].get("limit") == settings.limit else "--limit"
            lines.append(
                f"Part       only {settings.limit} + {settings.limit} test rows a language ({by}): intervals are wide."
            )
        if settings.test_languages is None and len(self.test_languages) == settings.limit_languages:
            lines.append(
                f"Part       at most {settings.limit_languages} languages are tested (limit_languages); name others with "
                "--test-languages."
            )
        return lines


def make_plan(on: Prepared, length: int) -> Plan:
    """Count the work and time a few tokens of it; `length` is that of the soft prompt."""
    settings, test = on.settings, on.test
    trained = settings.steps > 0
    defences = 3 if trained else 2
    anchored = settings.languages if settings.anchors == "training" else ("en",)
    anchors = 0
    if trained:
        rows = on.train.select(anchored, settings.anchor_rows).rows
        anchors = len(rows) * len(anchored) * (1 + len(WRITTEN_PROMPTS))
    rounds = 1 + -(-settings.steps // settings.select_every) if trained and settings.select == "validation" else 0
    rounds += len(WRITTEN_PROMPTS) if settings.prompt == BEST else 0
    validation = len(on.validation_questions) * rounds
    test_replies = len(test.rows) * len(test.languages) * defences
    forward, decode = time_model(on.chat.model)
    per_reply = 28 * forward + decode
    together = settings.train_batch * (1 + (settings.alignment_languages if settings.alignment == "live" else 0))
    per_reply *= settings.reply_tokens / 24
    seconds = per_reply * (test_replies + validation)
    if trained:
        seconds += per_reply * anchors * settings.anchor_tokens / settings.reply_tokens
        seconds += settings.steps * (length + 28 * together) * forward * 3
    return Plan(
        settings=settings,
        train_rows=len(on.train.rows),
        test_rows=len(test.rows),
        test_languages=test.languages,
        anchor_replies=anchors,
        validation_replies=validation,
        test_replies=test_replies,
        minutes=seconds / 60,
        minutes_of_baseline=per_reply * 2 * len(test.rows) * len(test.languages) / 60,
    )


@torch.no_grad()
def time_model(model: Any) -> tuple[float, float]:
    """Seconds of a forward pass per token, and of 24 decoding steps per row at batch 32."""
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
    decode = (time.perf_counter() - began - forward * rows * length) / (steps + 1) / rows * 24
    return forward, max(decode, 0.0)
