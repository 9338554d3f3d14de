"""The main job: baseline, anchors, training, table. Data flows one way: corpus, slot, space, trainer, evaluation, report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from babelguard.config import Settings, load_settings
from babelguard.defence import Defence, written_defence
from babelguard.errors import UserError, damaged
from babelguard.evaluation.measure import Bench, Question, mean_error
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Metrics, ScoredReply
from babelguard.evaluation.tables import sheet, terminal
from babelguard.hook import embed, embedding_rms
from babelguard.learning import learn
from babelguard.plan import Plan, make_plan
from babelguard.prepare import prepare
from babelguard.presets import PRESETS
from babelguard.report import write_report
from babelguard.run_folder import RunFolder, open_run, remember_model, write_text
from babelguard.safety_prompt import SafetyPrompt, template_digest
from babelguard.screen import Screen, Silent
from babelguard.slot import install
from babelguard.training_data import start_ids
from babelguard.written import BEST, WRITTEN_PROMPTS, prompt_text

BATCH_SIZE = 32
BENCHMARK = "babelguard-corpus"


def fit(
    model: str = "demo",
    *,
    output: Path | str | None = None,
    config: Path | None = None,
    screen: Screen | None = None,
    reuse: Sequence[Path | str] = (),
    **settings: Any,
) -> SafetyPrompt:
    """Harden a model and measure what it did; the same call again resumes, and does nothing when all is done.

    Args:
        model: 'demo', 'smollm2', a local folder or a hub id.
        output: The run folder; default: runs/<model>-<preset>-seed<seed>.
        config: A TOML file with settings.
        screen: Shows what is going on; silent without one.
        reuse: Runs whose replies are taken over where they would be the same (the baseline's, mostly).
        **settings: Fields of `babelguard.Settings`.

    Returns:
        The safety prompt, which also lies in the run folder. For the preset `written` it is the written prompt as vectors.

    Raises:
        UserError: one sentence for whatever the user can mend.
    """
    chosen = load_settings({"model": model} | settings, config)
    return Job(chosen, output, screen or Silent(), reuse).run()


class Job:
    """One run: what it works on, the written prompt to beat, the slot that is trained, and the stages in order."""

    def __init__(
        self, settings: Settings, output: Path | str | None, screen: Screen, reuse: Sequence[Path | str] = ()
    ) -> None:
        self.screen, self.reuse = screen, tuple(map(Path, reuse))
        self.on = prepare(settings, output, screen)
        self.settings, self.chat = self.on.settings, self.on.chat
        self._compare_with(settings.longest_written)
        self._start_from(settings.starts_from)
        if len(self.start_ids) > self.chat.context // 2:
            raise UserError(
                f"The prompt is {len(self.start_ids)} tokens long and the model's context holds {self.chat.context}; give a "
                "shorter --prompt or --prompt-length."
            )

    @property
    def costs(self) -> Plan:
        """What will be done and about how long it takes."""
        return make_plan(self.on, len(self.start_ids))

    def plan(self) -> None:
        """Print the first screen."""
        costs = self.costs
        self.screen.title("What will happen")
        for line in costs.lines(self.on, self.slot):
            self.screen.say(line)

    def run(self) -> SafetyPrompt:
        """All stages."""
        run = open_run(self.on.output, self.settings, self.on.facts)
        remember_model(run, self.settings.model)
        if run.metrics.exists() and run.prompt.exists():
            self.screen.say(f"This run is done already; its table, from {run.metrics}:")
            try:
                metrics = Metrics.model_validate_json(run.metrics.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(damaged(run.metrics)) from error
            self.screen.show(terminal(sheet(metrics)))
            self._next(run)
            return SafetyPrompt.from_pretrained(run.prompt)
        self.plan()
        bench = Bench(self.chat, run.path, batch_size=self.settings.batch_size or BATCH_SIZE, reuse=self.reuse)
        if self.settings.prompt == BEST:
            self._choose_written(bench)
        self._render(run)
        self.screen.title("Baseline")
        scored = self._measure(bench, Defence("none")) + self._measure(bench, self.written)
        self.screen.show(terminal(sheet(self._metrics(bench, scored))))
        prompt = self._train(bench, run)
        if self.settings.steps:
            self.screen.title("Result")
            scored += self._measure(bench, prompt.defence(self.chat.tokenizer))
        metrics = self._metrics(bench, scored)
        write_report(run, metrics, prompt, self.settings)
        self.screen.show(terminal(sheet(metrics)))
        if self.settings.limit is not None:
            whole = "Take --preset mcd" if "limit" in PRESETS[self.settings.preset] else "Leave --limit out"
            part = f"{self.settings.limit} + {self.settings.limit} test rows a language"
            self.screen.say(f"A part: {part}. {whole} for all.")
        write_text(run.metrics, metrics.model_dump_json(indent=2) + "\n")
        self._next(run)
        return SafetyPrompt.from_pretrained(run.prompt)

    def _next(self, run: RunFolder) -> None:
        screen = self.screen
        screen.title("Made")
        for path, what in (
            (run.prompt, "the safety prompt"),
            (run.report, "the report"),
            (run.picture, "the picture"),
            (run.metrics, "the numbers"),
        ):
            if path.exists():
                screen.say(f"  {path}  {what}")
        screen.title("Next")
        screen.say(f"  babelguard chat {run.path}")
        screen.say(f"  babelguard evaluate {run.path} --prompts YOUR.csv --defence none")

    def _measure(self, bench: Bench, defence: Defence) -> list[ScoredReply]:
        return self._ask(bench, defence, defence.name, self.on.test_questions)

    def _ask(self, bench: Bench, defence: Defence, name: str, asked: Sequence[Question]) -> list[ScoredReply]:
        with self.screen.progress(f"{name}: replies") as (tick, _):
            return bench.ask(defence, asked, tokens=self.settings.reply_tokens, tick=tick)

    def _metrics(self, bench: Bench, scored: Sequence[ScoredReply]) -> Metrics:
        return compute_metrics(
            scored,
            model=self.chat.name,
            benchmark=BENCHMARK,
            split="test",
            judge=bench.judge.name,
            trained=self.settings.languages,
        )

    def _compare_with(self, prompt: str) -> None:
        """Take a written prompt as the baseline."""
        self.written_text = prompt_text(prompt)
        self.written = written_defence("written", self.written_text, self.chat.tokenizer)

    def _start_from(self, prompt: str) -> None:
        """Take a written prompt as the start of training, and lay out the slot for its length."""
        self.start_text = prompt_text(prompt)
        self.start_ids = start_ids(self.chat.tokenizer, self.start_text, self.settings.prompt_length)
        rows = int(self.chat.model.get_input_embeddings().weight.shape[0])
        self.carrier, self.slot = install(self.chat.tokenizer, len(self.start_ids), rows)

    def _choose_written(self, bench: Bench) -> None:
        """Take the written prompt with the fewest errors on validation replies: the baseline that must be beaten."""
        self.screen.title("Choosing the written prompt on validation replies")
        errors = {}
        for name, text in WRITTEN_PROMPTS.items():
            candidate = written_defence("written", text, self.chat.tokenizer)
            errors[name] = mean_error(self._ask(bench, candidate, name, self.on.validation_questions))
            self.screen.say(f"  {name}: mean error {100 * errors[name]:.1f} %")
        best = min(errors, key=errors.__getitem__)
        self._compare_with(best)
        if not self.settings.steps:
            self._start_from(best)

    def _render(self, run: RunFolder) -> None:
        """Write the test prompts as the model sees them, one per language and defence."""
        defences = [Defence("none"), self.written]
        if self.settings.steps:
            defences.append(Defence(self.settings.preset, theta=torch.zeros(1), slot=self.slot, carrier=self.carrier))
        lines = []
        for code in self.on.test.languages:
            row = self.on.test.rows[0]
            for defence in defences:
                text = defence.text(self.chat.tokenizer, row.texts[code])
                lines.append(
                    json.dumps(
                        {"id": row.id, "language": code, "defence": defence.name, "text": text}, ensure_ascii=False
                    )
                )
        write_text(run.rendered, "\n".join(lines) + "\n")

    def _train(self, bench: Bench, run: RunFolder) -> SafetyPrompt:
        """Anchors, safety space, training; for the preset `written` the written prompt as vectors."""
        settings, chat, screen = self.settings, self.chat, self.screen
        start = embed(chat.model, self.start_ids).cpu()
        theta = start
        facts: dict[str, Any] = {
            "languages": list(settings.languages),
            "preset": settings.preset,
            "start": self.start_text,
            "written": self.written_text,
        }
        if settings.steps:
            soft = Defence(settings.preset, theta=start, slot=self.slot, carrier=self.carrier)
            theta, learned = learn(bench, soft, self.on.train, self.on.validation_questions, settings, run.path, screen)
            facts |= learned
        prompt = SafetyPrompt(
            theta=theta,
            slot=self.slot,
            base_model=chat.base_id,
            base_revision=chat.revision,
            base_fingerprint=chat.fingerprint,
            base_licence=chat.licence,
            name=settings.preset,
            seed=settings.seed,
            template_digest=template_digest(chat.tokenizer),
            training=facts,
        )
        moved = float((theta - start).pow(2).mean().sqrt()) / embedding_rms(chat.model)
        if settings.steps:
            screen.say(f"  the prompt moved by {100 * moved:.0f} % of the size of an embedding")
        return prompt
