"""The main job: measure the baseline, train a soft prompt, measure again, write the table and the prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from babelguard.config import Settings
from babelguard.config.presets import PRESETS
from babelguard.config.sections import BEST
from babelguard.corpus import Question
from babelguard.defences import Defence, NoDefence, SoftDefence, WrittenDefence
from babelguard.defences.written import WRITTEN_PROMPTS, prompt_text, start_ids
from babelguard.errors import UserError
from babelguard.evaluation.bench import Bench, Budgets
from babelguard.evaluation.error_rates import selection_error
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Metrics, ScoredReply
from babelguard.files import locked, read_record, write_text
from babelguard.jobs.cross_check import judged_again
from babelguard.jobs.learn import learn, unscored_line
from babelguard.jobs.plan import Plan, Speed, make_plan
from babelguard.jobs.prepare import prepare
from babelguard.jobs.report import write_report
from babelguard.jobs.run_folder import RunFolder, open_run, remember_model
from babelguard.judges import Judge
from babelguard.judges.base import title_of
from babelguard.method.trainable import Trainable
from babelguard.models.probes import embed, embedding_rms
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.safety_prompt import template_digest
from babelguard.prompt.slot import install
from babelguard.report.agreement import agreement_lines
from babelguard.report.table import outcome_table
from babelguard.report.terminal import to_terminal
from babelguard.screen import Screen


class Defend:
    """One run: the model, the baseline, the slot of the soft prompt, and the stages in order.

    Args:
        settings: The settings.
        output: The run folder; default: runs/<model>-<preset>-seed<seed>.
        screen: Shows progress.
        reuse: Runs whose replies are copied if they would be the same.

    Raises:
        UserError: See `prepare`; also if the prompt is longer than half of the model's context.
    """

    def __init__(
        self, settings: Settings, output: Path | str | None, screen: Screen, reuse: Sequence[Path] = ()
    ) -> None:
        self.screen, self.reuse = screen, reuse
        self.prepared = prepare(settings, output, screen)
        self.settings, self.chat, self.model = self.prepared.settings, self.prepared.chat, self.prepared.target
        self._set_baseline(self.settings.baseline)
        self._set_start(self.settings.start)
        if len(self.start_ids) > self.chat.context // 2:
            raise UserError(
                f"The prompt is {len(self.start_ids)} tokens long, but the model's context has {self.chat.context} tokens; use a "
                "shorter `evaluation.written` or `training.prompt_length`."
            )

    def estimate(self, speed: Speed | None = None) -> Plan:
        """Count the replies and estimate the time; see `make_plan`."""
        return make_plan(self.prepared, len(self.start_ids), speed)

    def show_plan(self) -> None:
        """Show what the run will do, and the estimated time."""
        self.screen.title("Plan")
        for line in self.estimate().lines(self.prepared, self.slot):
            self.screen.say(line)

    def run(self) -> SafetyPrompt:
        """Run all stages that are not done yet, and return the safety prompt."""
        with locked(self.prepared.output):
            return self._run()

    def _run(self) -> SafetyPrompt:
        run = open_run(self.prepared.output, self.settings, self.prepared.facts)
        remember_model(run, self.settings.model)
        if run.metrics.exists() and run.prompt.exists():
            return self._show_finished(run)
        self.show_plan()
        judges = self.prepared.judges
        tested = Bench(self.model, judges.main, run.path, self.reuse)
        bench = tested.judged_by(judges.selection)
        if self.settings.evaluation.written == BEST:
            self._choose_written(bench)
        self._write_examples(run)
        self.screen.title("Baseline")
        defences: list[Defence] = [NoDefence(), self.written]
        scored = self._test(tested, defences)
        self._show(self._metrics(scored, judges.main))
        prompt = self._train(bench)
        if self.settings.training.steps:
            self.screen.title("Result")
            defences.append(SoftDefence.from_prompt(prompt, self.chat.tokenizer))
            scored += self._test(tested, defences[-1:])
        metrics = judged_again(
            self._metrics(scored, judges.main),
            judges.others,
            lambda judge: self._test(tested.judged_by(judge), defences),
            self._metrics,
        )
        # The files first: the terminal may be gone.
        write_report(run, metrics, prompt, self.settings)
        write_text(run.metrics, metrics.model_dump_json(indent=2) + "\n")
        self._show(metrics)
        for line in agreement_lines(metrics):
            self.screen.say(line)
        if (rows := self.settings.evaluation.rows) is not None:
            by_preset = "rows" in PRESETS[self.settings.preset].get("evaluation", {})
            whole = "Use `preset` mcd" if by_preset else "Do not set `evaluation.rows`"
            self.screen.say(f"Tested on {rows} + {rows} rows per language. {whole} to test on all rows.")
        self._show_next(run)
        return SafetyPrompt.from_pretrained(run.prompt)

    def _show_finished(self, run: RunFolder) -> SafetyPrompt:
        self.screen.say(f"This run is complete. Results from {run.metrics}:")
        metrics = read_record(run.metrics, Metrics)
        if metrics is not None:
            self._show(metrics)
        self._show_next(run)
        return SafetyPrompt.from_pretrained(run.prompt)

    def _show(self, metrics: Metrics) -> None:
        self.screen.show(to_terminal(outcome_table(metrics)))

    def _show_next(self, run: RunFolder) -> None:
        screen = self.screen
        screen.title("Files")
        for path, what in (
            (run.prompt, "the safety prompt"),
            (run.report, "the report"),
            (run.picture, "the plot of the error rates"),
            (run.metrics, "the metrics"),
        ):
            if path.exists():
                screen.say(f"  {path}  {what}")
        screen.next_commands(("chat", str(run.path)), ("evaluate", str(run.path), "YOUR.csv"))

    def _test(self, bench: Bench, defences: Sequence[Defence]) -> list[ScoredReply]:
        budgets = self.prepared.budgets(self.settings.evaluation.reply_tokens)
        asked = self.prepared.test_questions
        return [reply for one in defences for reply in self._ask(bench, one, one.name, asked, budgets)]

    def _ask(
        self, bench: Bench, defence: Defence, name: str, asked: Sequence[Question], budgets: Budgets
    ) -> list[ScoredReply]:
        with self.screen.progress(f"{name}: replies") as (tick, _):
            return bench.ask(defence, asked, tokens=budgets, tick=tick)

    def _metrics(self, scored: Sequence[ScoredReply], judge: Judge) -> Metrics:
        return compute_metrics(
            scored,
            model=self.chat.name,
            benchmark=self.prepared.test.name,
            split="test",
            judge=title_of(judge),
            trained=self.prepared.languages,
        )

    def _set_baseline(self, prompt: str) -> None:
        """Use a written prompt as the baseline."""
        self.written_text = prompt_text(prompt)
        self.written = WrittenDefence.from_text("written", self.written_text, self.chat.tokenizer)

    def _set_start(self, prompt: str) -> None:
        """Start training from a written prompt. Its length determines the slot."""
        self.start_text = prompt_text(prompt)
        self.start_ids = start_ids(self.chat.tokenizer, self.start_text, self.settings.training.prompt_length)
        rows = int(self.chat.model.get_input_embeddings().weight.shape[0])
        generation = self.chat.model.generation_config
        in_use = [*self.chat.stop_ids, generation.bos_token_id, generation.pad_token_id]
        self.carrier, self.slot = install(self.chat.tokenizer, len(self.start_ids), rows, in_use)

    def _choose_written(self, bench: Bench) -> None:
        """Use the written prompt with the lowest error on validation replies as the baseline, and start from it by default.

        The other prompts can be worse than no prompt: a long one makes some small models answer more harmful requests.
        """
        self.screen.title("Choosing the written prompt on validation replies")
        errors = {}
        budgets = self.prepared.budgets(self.settings.selection.reply_tokens, self.prepared.languages)
        for name, text in WRITTEN_PROMPTS.items():
            candidate = WrittenDefence.from_text("written", text, self.chat.tokenizer)
            replies = self._ask(bench, candidate, name, self.prepared.validation_questions, budgets)
            errors[name] = selection_error(replies)
            if line := unscored_line(replies):
                self.screen.say(f"  {line}")
            self.screen.say(f"  {name}: mean error {100 * errors[name]:.1f} %")
        best = min(errors, key=errors.__getitem__)
        self._set_baseline(best)
        if self.settings.training.start is None:
            self._set_start(best)

    def _write_examples(self, run: RunFolder) -> None:
        """Write one rendered test prompt per language and defence."""
        defences: list[Defence] = [NoDefence(), self.written]
        if self.settings.training.steps:
            defences.append(SoftDefence(self.settings.preset, torch.zeros(1), self.slot, self.carrier))
        lines = []
        for code in self.prepared.test.languages:
            row = self.prepared.test.rows[0]
            for defence in defences:
                text = defence.text(self.chat.tokenizer, row.texts[code])
                example = {"id": row.id, "language": code, "defence": defence.name, "text": text}
                lines.append(json.dumps(example, ensure_ascii=False))
        write_text(run.rendered, "\n".join(lines) + "\n")

    def _train(self, bench: Bench) -> SafetyPrompt:
        """Train the soft prompt. Without training steps, return the written prompt as vectors."""
        settings, chat = self.settings, self.chat
        start = theta = embed(chat.model, self.start_ids).cpu()
        facts: dict[str, Any] = {
            "languages": list(self.prepared.languages),
            "preset": settings.preset,
            "start": self.start_text,
            "written": self.written_text,
        }
        if chat.quantisation is not None:
            facts["base_weights"] = f"dequantised from {chat.quantisation}"
        if settings.training.steps:
            soft = SoftDefence(settings.preset, start, self.slot, self.carrier)
            trainable = Trainable.prompt(soft, chat.model, settings.training.learning_rate, settings.seed)
            theta, learned = learn(self.prepared, self.model, bench, trainable, self.screen)
            facts |= learned
            moved = float((theta - start).pow(2).mean().sqrt()) / embedding_rms(chat.model)
            self.screen.say(
                f"  root mean square change of the prompt: {100 * moved:.0f} % of the root mean square of the embeddings"
            )
        return SafetyPrompt(
            theta=theta,
            slot=self.slot,
            base_model=chat.base_id,
            base_revision=chat.revision,
            base_sketch=chat.sketch,
            base_licence=chat.licence,
            name=settings.preset,
            seed=settings.seed,
            template_digest=template_digest(chat.tokenizer),
            training=facts,
        )
