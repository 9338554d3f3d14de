"""The product: a soft safety prompt that can be saved, loaded, and put into a model and its tokenizer."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from babelguard.card import model_card
from babelguard.chat_template import chat_template_of
from babelguard.defence import Defence
from babelguard.errors import UserError
from babelguard.hook import SoftPromptHook
from babelguard.models.load import fingerprint
from babelguard.slot import Slot, carry

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
TYPE = "babelguard-safety-prompt"
# Fields of `SafetyPrompt` that the configuration holds as they are, and their names in it.
FIELDS = {
    "base_model": "base_model",
    "base_revision": "base_revision",
    "base_fingerprint": "base_fingerprint",
    "base_licence": "base_licence",
    "name": "name",
    "seed": "seed",
    "template_digest": "template_sha256",
    "training": "training",
}


@dataclass(frozen=True)
class SafetyPrompt:
    """A trained soft safety prompt.

    Attributes:
        theta: The vectors [n, d], float32, as embeddings stand after any embedding scale.
        slot: The placeholder tokens and the place in the template.
        base_model: Id of the model it was trained for.
        base_revision: Revision of that model, as far as it is known.
        base_fingerprint: Hash of a sample of its weights; another model is refused.
        base_licence: Licence of that model, as far as it is known.
        name: The preset that made it.
        seed: Of the training.
        template_digest: SHA-256 of the chat template that it was trained with.
        training: What a reader wants to know about its making (languages, steps, losses, start text).
        results: The Markdown table of the run, for the model card.
    """

    theta: Tensor
    slot: Slot
    base_model: str
    base_revision: str | None
    base_fingerprint: str
    base_licence: str | None
    name: str
    seed: int
    template_digest: str
    training: dict[str, Any] = field(default_factory=dict)
    results: str = ""

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and a model card.

        Raises:
            UserError: where the folder cannot be written.
        """
        target = Path(folder)
        slot = vars(self.slot) | {"tokens": list(self.slot.tokens), "token_ids": list(self.slot.token_ids)}
        config = {
            "format": FORMAT,
            "type": TYPE,
            "name": self.name,
            "seed": self.seed,
            "base_model": self.base_model,
            "base_revision": self.base_revision,
            "base_fingerprint": self.base_fingerprint,
            "base_licence": self.base_licence,
            "length": self.theta.shape[0],
            "width": self.theta.shape[1],
            "scale": "after the embedding scale",
            "template_sha256": self.template_digest,
            "slot": slot,
            "training": self.training,
        }
        try:
            target.mkdir(parents=True, exist_ok=True)
            save_file({"theta": self.theta.detach().cpu().float().contiguous()}, target / WEIGHTS)
            (target / CARD).write_text(model_card(self), encoding="utf-8")
            # The configuration comes last: a folder that has it is whole.
            (target / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"The prompt could not be written to {target} ({error}); free some space and try again."
            ) from error

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], revision: str | None = None) -> SafetyPrompt:
        """Read a prompt from a folder or from the hub.

        Raises:
            UserError: where the folder is no prompt, or is damaged.
        """
        folder = Path(name).expanduser()
        if not folder.is_dir():
            folder = _fetch(str(name), revision)
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            if config.get("type") != TYPE:
                raise KeyError("type")
            if config["format"] > FORMAT:
                raise UserError(
                    f"The prompt in {name} was written by a newer babelguard (format {config['format']}); update."
                )
            theta = load_file(folder / WEIGHTS)["theta"]
            fields = config["slot"]
            if len(fields["tokens"]) != len(fields["token_ids"]):
                raise ValueError("it has not as many tokens as ids")
            slot = Slot(**(fields | {"tokens": tuple(fields["tokens"]), "token_ids": tuple(fields["token_ids"])}))
            wanted = (config["length"], config["width"])
            # Everything else that is asked for below: a missing field is found here.
            known = {field: config[key] for field, key in FIELDS.items()}
        except FileNotFoundError as error:
            missing = Path(error.filename).name if error.filename else WEIGHTS
            raise UserError(f"{name} is no safety prompt: {missing} is missing in it.") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            what = " ".join(str(error).split())
            raise UserError(
                f"The safety prompt in {name} is damaged or of another kind ({what}); train or fetch it again."
            ) from error
        if theta.ndim != 2 or tuple(theta.shape) != wanted or theta.shape[0] != len(slot.tokens):
            raise UserError(
                f"The safety prompt in {name} is damaged: its vectors are {tuple(theta.shape)}, but its configuration says "
                f"{wanted[0]} x {wanted[1]}; train or fetch it again."
            )
        if not bool(torch.isfinite(theta).all()):
            raise UserError(
                f"The safety prompt in {name} is damaged: it holds numbers that are not finite; train or fetch it again."
            )
        card = folder / CARD
        return cls(
            theta=theta.float(),
            slot=slot,
            **known,
            results=_results_of(card.read_text(encoding="utf-8")) if card.exists() else "",
        )

    def check(self, model: Any, tokenizer: Any) -> None:
        """Refuse a model that this prompt was not trained for.

        Raises:
            UserError: wrong width, wrong base model, or another chat template.
        """
        width = int(model.get_input_embeddings().weight.shape[1])
        if width != self.theta.shape[1]:
            raise UserError(
                f"This safety prompt is {self.theta.shape[1]} wide and was trained for {self.base_model}; the model given is "
                f"{width} wide."
            )
        if fingerprint(model) != self.base_fingerprint:
            raise UserError(
                f"This safety prompt was trained for {self.base_model}, whose embeddings differ from those of the model given; "
                "a prompt works only with its own base model."
            )
        if template_digest(tokenizer) != self.template_digest:
            raise UserError(
                f"The tokenizer given has another chat template than the one with which this prompt was trained for "
                f"{self.base_model}; what is served must be what was trained."
            )

    def carrier(self, tokenizer: Any) -> Any:
        """A copy of the tokenizer whose chat template carries the prompt."""
        slot = self.slot
        carrier, found = carry(tokenizer, slot.tokens, slot.placement, slot.default_system, slot.source)
        if found.token_ids != slot.token_ids:
            raise UserError(
                f"The tokenizer given has other ids for {slot.tokens[0]} … {slot.tokens[-1]} than the one with which this prompt "
                "was trained."
            )
        return carrier

    def protect(self, model: Any, tokenizer: Any) -> tuple[Any, Any]:
        """Put the prompt into a model and give back the model and a tokenizer whose template carries it.

        Plain `generate` on chats rendered with the tokenizer's `apply_chat_template` is then defended. The model is
        changed by two hooks on its input embedding and by `suppress_tokens`; its weights are not.

        Raises:
            UserError: see `check`.
        """
        self.check(model, tokenizer)
        carrier = self.carrier(tokenizer)
        unprotect(model)
        weight = model.get_input_embeddings().weight
        model.babelguard_hook = SoftPromptHook(model, self.theta.to(weight.device), self.slot.token_ids)
        head = model.get_output_embeddings().weight.shape[0]
        model.babelguard_suppressed = model.generation_config.suppress_tokens
        suppressed = [*(model.babelguard_suppressed or []), *(i for i in self.slot.token_ids if i < head)]
        model.generation_config.suppress_tokens = suppressed or None  # an empty list is no valid value
        return model, carrier

    def defence(self, tokenizer: Any) -> Defence:
        """This prompt as something to measure."""
        return Defence(self.name, self.seed, theta=self.theta, slot=self.slot, carrier=self.carrier(tokenizer))


def unprotect(model: Any) -> None:
    """Take a prompt out of a model again; does nothing where there is none."""
    hook = getattr(model, "babelguard_hook", None)
    if hook is None:
        return
    hook.remove()
    model.generation_config.suppress_tokens = model.babelguard_suppressed
    model.babelguard_hook = model.babelguard_suppressed = None


def template_digest(tokenizer: Any) -> str:
    """SHA-256 of the tokenizer's own chat template."""
    return hashlib.sha256(chat_template_of(tokenizer).encode()).hexdigest()


def _results_of(card: str) -> str:
    """The results section of a model card."""
    _, _, rest = card.partition("## Results\n")
    return rest.partition("\n## ")[0].strip()


def is_on_hub(name: str) -> bool:
    """Whether a hub id is that of a safety prompt; False for a model, for what is not there, and without a network."""
    from huggingface_hub import hf_hub_download

    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        return False
    try:
        config = json.loads(Path(hf_hub_download(name, CONFIG)).read_text(encoding="utf-8"))
    except Exception:  # the hub client raises many kinds; the loader of models finds the words for them
        return False
    return isinstance(config, dict) and config.get("type") == TYPE


def _fetch(name: str, revision: str | None) -> Path:
    """Fetch a prompt from the hub, or say why not."""
    from huggingface_hub import snapshot_download

    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError(f"There is no safety prompt at {name}: the folder does not exist.")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[CONFIG, WEIGHTS, CARD]))
    except Exception as error:  # the hub client raises many kinds; each is one sentence for the user
        text = " ".join(str(error).split())[:200]
        raise UserError(
            f"{name} is neither a folder here nor a prompt that could be fetched from the hub: {text}."
        ) from error
