"""A model in this process as the subject of an evaluation, and the defences to measure on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from babelguard.defences import Defence, SoftDefence, WrittenDefence
from babelguard.defences.written import prompt_text
from babelguard.errors import UserError
from babelguard.evaluation.reply_length import reply_budgets
from babelguard.jobs.open_target import OpenedTarget, open_target, read_prompt
from babelguard.models.gguf import Say
from babelguard.prompt import SafetyPrompt
from babelguard.registry import create, names
from babelguard.targets import LocalModel


class LocalSubject:
    """A run, a safety prompt or a model, opened in this process.

    Args:
        target: A run folder, a safety prompt's folder or hub id, or a model.
        defences: Other defences to measure.
        model: The base model, if it is not at the location recorded in the run.
        device: See `choose_device`.
        dtype: See `choose_dtype`.
        trust_remote_code: Allow model code from the hub to run.
        revision: Revision of a hub model.
        batch_size: Replies generated together.
        say: Called with progress messages.

    Raises:
        UserError: If the target or a defence cannot be used.
    """

    def __init__(
        self,
        target: str,
        defences: Sequence[str],
        *,
        model: str | None,
        device: str,
        dtype: str,
        trust_remote_code: bool,
        revision: str | None,
        batch_size: int | None,
        say: Say,
    ) -> None:
        others = {name: _read_defence(name) for name in defences}
        self.opened = open_target(
            target,
            model=model,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            revision=revision,
            say=lambda text: say(f"  {text}"),
        )
        self.defences = list_defences(self.opened, others, say)
        self.name, self._batch_size = self.opened.chat.name, batch_size
        path = Path(target)
        is_run = path.is_dir() and (path / "config.json").exists() and (path / "safety_prompt").exists()
        self.folder = path / "evaluations" if is_run else Path("evaluations") / path.name

    @property
    def trained(self) -> tuple[str, ...]:
        """The languages that the prompt was trained on."""
        return () if self.opened.prompt is None else tuple(self.opened.prompt.training.get("languages", ()))

    def budgets(self, languages: Iterable[str], english: int) -> dict[str, int]:
        """Maximum length of a reply in tokens, by language."""
        return reply_budgets(self.opened.chat.tokenizer, languages, english)

    def facts(self, languages: Iterable[str], english: int) -> dict[str, str]:
        """What the replies depend on."""
        return {"model_fingerprint": self.opened.chat.weights}

    def target(self, folder: Path) -> LocalModel:
        """Return the target. The folder of the results must be locked."""
        return LocalModel(self.opened.chat, self._batch_size, folder / "batch_size.json")


def _read_defence(name: str) -> SafetyPrompt | None:
    """Read the safety prompt that `name` refers to. None if it is the name of a registered defence."""
    if name in names("defences"):
        return None
    found = read_prompt(name)
    if found is None:
        listed = ", ".join(names("defences"))
        raise UserError(
            f"There is no defence '{name}'; use {listed}, the folder of a run, or the folder or hub id of a safety prompt."
        )
    return found[0]


def list_defences(opened: OpenedTarget, others: dict[str, SafetyPrompt | None], say: Say) -> list[Defence]:
    """List the defences to measure: baselines first, then the target, then other prompts.

    Args:
        opened: The target.
        others: From `_read_defence`, by the name given by the user.
        say: See `SafetyPrompt.check`.

    Raises:
        UserError: If a defence occurs twice, or does not fit the model.
    """
    chat, prompt = opened.chat, opened.prompt
    found: list[Defence] = []
    if "none" in others or prompt is None:
        found.append(create("defences", "none", chat))
    if "written" in others and prompt is not None:
        if prompt.name == "written":
            raise UserError("The target is the written prompt itself; remove 'written' from `defences`.")
        # The baseline of the run, so that both tables agree.
        text = prompt.training.get("written") or prompt.training.get("start") or prompt_text("medium")
        found.append(WrittenDefence.from_text("written", text, chat.tokenizer))
    for name, other in others.items():
        if other is None and name != "none" and not (name == "written" and prompt is not None):
            found.append(create("defences", name, chat))
    if prompt is not None:
        found.append(SoftDefence.from_prompt(prompt, chat.tokenizer))
    for other in others.values():
        if other is not None:
            other.check(chat.model, chat.tokenizer, say)
            found.append(SoftDefence.from_prompt(other, chat.tokenizer))
    named = [(defence.name, defence.seed) for defence in found]
    if len(set(named)) < len(named):
        raise UserError("Two of the defences have the same name and seed; remove one of them from `defences`.")
    return found
