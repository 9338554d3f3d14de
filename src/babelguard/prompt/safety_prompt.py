"""A trained soft safety prompt: save it, load it, and put it into a model and its tokenizer."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from babelguard.errors import Note, UserError
from babelguard.models.checks import chat_template_of
from babelguard.models.gguf import Say
from babelguard.models.sketch import Sketch
from babelguard.prompt import hub, storage
from babelguard.prompt.card import model_card, results_of
from babelguard.prompt.hook import SoftPromptHook
from babelguard.prompt.saving import save_defended
from babelguard.prompt.slot import Slot, carry, check_tokenizer


def _warn(sentence: str) -> None:
    warnings.warn(Note(sentence), stacklevel=4)


@dataclass(frozen=True)
class SafetyPrompt:
    """A trained soft safety prompt.

    Attributes:
        theta: The vectors, [n, d], float32, on the scale of the first decoder block's input.
        slot: The placeholder tokens and their position in the chat template.
        base_model: Id of the model it was trained for.
        base_revision: Revision of that model, if known.
        base_sketch: Sketch of the model's weights. Models with a different sketch are rejected.
        base_licence: Licence of that model, if known.
        name: The preset that trained it.
        seed: Random seed of the training.
        template_digest: SHA-256 of the chat template it was trained with.
        training: Facts about the training for the model card (languages, steps, losses, start text).
        results: Markdown table of the results, for the model card.
    """

    theta: Tensor
    slot: Slot
    base_model: str
    base_revision: str | None
    base_sketch: Sketch
    base_licence: str | None
    name: str
    seed: int
    template_digest: str
    training: dict[str, Any] = field(default_factory=dict)
    results: str = ""

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and a model card (README.md).

        Raises:
            UserError: If the folder cannot be written.
        """
        lists = {"tokens": list(self.slot.tokens), "token_ids": list(self.slot.token_ids)}
        slot = vars(self.slot) | lists | {"shapes": dict(self.slot.shapes)}
        config = storage.PromptConfig(
            format=storage.FORMAT,
            type=storage.TYPE,
            name=self.name,
            seed=self.seed,
            base_model=self.base_model,
            base_revision=self.base_revision,
            base_sketch=self.base_sketch.lines(),
            base_licence=self.base_licence,
            length=self.theta.shape[0],
            width=self.theta.shape[1],
            scale="after the embedding scale",
            template_sha256=self.template_digest,
            slot=storage.SlotConfig(**slot),
            training=self.training,
        )
        storage.write(Path(folder), config, self.theta, model_card(config, self.slot, self.results))

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], revision: str | None = None) -> SafetyPrompt:
        """Load a safety prompt from a folder or from the hub.

        Args:
            name: A folder or a hub id.
            revision: Revision of a hub id.

        Raises:
            UserError: If it is not a safety prompt, or is damaged.
        """
        folder = Path(name).expanduser()
        if not folder.is_dir():
            folder = hub.download(str(name), revision)
        config, theta, card = storage.read(folder, str(name))
        return cls(
            theta=theta,
            slot=storage.slot_of(config),
            base_model=config.base_model,
            base_revision=config.base_revision,
            base_sketch=Sketch.parse(config.base_sketch),
            base_licence=config.base_licence,
            name=config.name,
            seed=config.seed,
            template_digest=config.template_sha256,
            training=config.training,
            results=results_of(card),
        )

    def check(self, model: Any, tokenizer: Any, say: Say = _warn) -> None:
        """Check that this prompt was trained for the given model and tokenizer.

        Args:
            model: A model.
            tokenizer: Its tokenizer.
            say: Called with one sentence if the weights differ as after quantisation or light fine-tuning. By default it
                is a Python warning.

        Raises:
            UserError: If the width or the chat template differ, or the weights differ too much, or if the tokenizer is a
                processor, or already has a safety prompt.
        """
        width = int(model.get_input_embeddings().weight.shape[1])
        self.check_base(width, Sketch.of(model), tokenizer, say)

    def check_base(self, width: int, sketch: Sketch, tokenizer: Any, say: Say) -> None:
        """Check that this prompt was trained for a model that need not be in memory; see `check`.

        Args:
            width: Width of the embeddings.
            sketch: The sketch of the model.
            tokenizer: Its tokenizer.
            say: See `check`.

        Raises:
            UserError: See `check`.
        """
        check_tokenizer(tokenizer)
        if width != self.theta.shape[1]:
            raise UserError(
                f"This safety prompt was trained for {self.base_model} and has width {self.theta.shape[1]}; the given model "
                f"has width {width}."
            )
        found = self.base_sketch.difference(sketch)
        if found.other:
            raise UserError(
                f"This safety prompt was trained for {self.base_model}, but the given model is another model: {found.reason}; "
                "a safety prompt only works with its own base model."
            )
        if template_digest(tokenizer) != self.template_digest:
            raise UserError(
                f"The given tokenizer does not have the chat template that this safety prompt for {self.base_model} was "
                "trained with; use the original chat template."
            )
        if found.reason:
            say(
                f"The weights of the given model are not exactly those of {self.base_model} that this safety prompt was trained "
                f"on ({found.reason}), as after quantisation or light fine-tuning; measure the model again with "
                "'babelguard evaluate'."
            )

    def carrier(self, tokenizer: Any) -> Any:
        """Return a copy of the tokenizer whose chat templates insert the prompt. It checks every chat that it renders.

        Raises:
            UserError: If the placeholder tokens have other ids in this tokenizer, or its default chat template cannot carry
                the prompt.
        """
        slot = self.slot
        carrier, found = carry(tokenizer, slot.tokens, slot.placement, slot.default_system, slot.source)
        if found.token_ids != slot.token_ids:
            raise UserError(
                f"The given tokenizer does not have the ids of the placeholder tokens {slot.tokens[0]} to {slot.tokens[-1]} that "
                "this safety prompt was trained with; use the original tokenizer."
            )
        return carrier

    def protect(self, model: Any, tokenizer: Any, say: Say = _warn, *, strict: bool = False) -> tuple[Any, Any]:
        """Insert the prompt into a model.

        Plain `generate` is then defended for chats rendered with the returned tokenizer's `apply_chat_template`. The model
        gets two hooks on its input embedding, one that checks its input, and `suppress_tokens`; its weights are not changed. Its
        `save_pretrained` writes a defended model; see `babelguard.prompt.saving`.
        `unprotect` reverses it.

        Args:
            model: The base model.
            tokenizer: Its tokenizer. It is not changed.
            say: See `check`.
            strict: Raise a UserError whenever the model is given the beginning of a chat without the prompt, instead of
                warning once.

        Returns:
            The model, and a tokenizer whose chat template inserts the prompt.

        Raises:
            UserError: See `check`.
        """
        self.check(model, tokenizer, say)
        carrier = self.carrier(tokenizer)
        unprotect(model)
        weight = model.get_input_embeddings().weight
        model.babelguard_hook = SoftPromptHook(
            model, self.theta.to(weight.device), self.slot.token_ids, missing="raise" if strict else "warn"
        )
        head = model.get_output_embeddings().weight.shape[0]
        model.babelguard_suppressed = model.generation_config.suppress_tokens
        suppressed = [*(model.babelguard_suppressed or []), *(i for i in self.slot.token_ids if i < head)]
        model.generation_config.suppress_tokens = suppressed or None  # an empty list is not a valid value
        model.save_pretrained = partial(save_defended, model, self.theta, self.slot.token_ids, carrier)
        carrier.babelguard_protects = True
        return model, carrier


def unprotect(model: Any) -> None:
    """Remove a safety prompt from a model. Does nothing if the model has none."""
    hook = getattr(model, "babelguard_hook", None)
    if hook is None:
        return
    hook.remove()
    model.generation_config.suppress_tokens = model.babelguard_suppressed
    model.babelguard_hook = model.babelguard_suppressed = None
    del model.save_pretrained  # the method of the class is visible again


def template_digest(tokenizer: Any) -> str:
    """Return the SHA-256 of the tokenizer's own chat template."""
    return hashlib.sha256(chat_template_of(tokenizer).encode()).hexdigest()
