"""Load a frozen chat model by name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from babelguard.errors import UserError, short
from babelguard.models.checks import (
    check_cacheable,
    check_kind,
    check_stops,
    check_template,
    check_token_ids,
    check_weights,
    drop_marks,
)
from babelguard.models.devices import choose_device, choose_dtype
from babelguard.models.digests import weights_digest
from babelguard.models.folders import check_files, model_folder
from babelguard.models.gguf import Say
from babelguard.models.packaged import PACKAGED
from babelguard.models.quiet import quiet
from babelguard.models.sketch import Sketch
from babelguard.models.weight_files import ADVICE


@dataclass(frozen=True)
class ChatModel:
    """A frozen model with its tokenizer.

    Attributes:
        model: The causal language model, in evaluation mode, without gradients.
        tokenizer: Its tokenizer, with the model's own chat template.
        name: Name given by the user, without the path of a local folder.
        base_id: Hub id of the base model, for model cards.
        revision: Revision, if known.
        licence: Licence of the base model, if known.
        quantisation: Quantisation that the weights were dequantised from, for packaged models.
        sketch: Sketch of the weights. A safety prompt only works with a model that has nearly the same sketch.
        weights: Hash of all weights. Runs and logged replies are only reused for a model that has the same hash.
    """

    model: Any
    tokenizer: Any
    name: str
    base_id: str
    revision: str | None
    licence: str | None
    quantisation: str | None
    sketch: Sketch
    weights: str

    @property
    def device(self) -> torch.device:
        """Device of the input embeddings."""
        return torch.device(self.model.get_input_embeddings().weight.device)

    @property
    def stop_ids(self) -> list[int]:
        """Token ids that end a reply, from the generation configuration and the tokenizer."""
        configured = self.model.generation_config.eos_token_id
        ids = set(configured if isinstance(configured, list) else [configured])
        ids |= {self.tokenizer.eos_token_id}
        return sorted(i for i in ids if i is not None)

    @property
    def context(self) -> int:
        """Maximum length of a chat in tokens."""
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 2048)


class Source(NamedTuple):
    """Where a model is loaded from, and what is known about it; see `ChatModel`."""

    path: str
    base_id: str
    licence: str | None = None
    quantisation: str | None = None


def resolve(name: str, say: Say) -> Source:
    """Find a model by name: a packaged model, a local folder, or a hub id.

    Raises:
        UserError: If `name` is a path that does not hold a model.
    """
    if name in PACKAGED:
        packaged = PACKAGED[name]
        return Source(str(packaged.prepare(say)), packaged.base_id, packaged.licence, packaged.quantisation)
    path = Path(name).expanduser()
    if path.exists() or name.startswith((".", "/", "~")):
        path = model_folder(name)
        check_files(path)
        return Source(str(path), path.resolve().name)
    return Source(name, name)


def load_chat_model(
    name: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    say: Say = lambda _: None,
) -> ChatModel:
    """Load a model and its tokenizer, frozen.

    Args:
        name: Name of a packaged model, a local folder or a hub id.
        revision: Revision of a hub model.
        device: See `choose_device`.
        dtype: See `choose_dtype`.
        trust_remote_code: Allow model code from the hub to run.
        say: Called with progress messages.

    Raises:
        UserError: If the model cannot be loaded or cannot be defended.
    """
    found = resolve(name, say)
    source = found.path
    transformers_logging.disable_progress_bar()
    common: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        with quiet():
            config = AutoConfig.from_pretrained(source, **common)
        check_kind(config, name)
        # Embedding models may have the architecture of a chat model. This file identifies them.
        if (Path(source) / "modules.json").exists():
            raise UserError(f"{name} is an embedding model, which does not generate text; choose a causal chat model.")
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(source, **common)
        drop_marks(tokenizer)
        example = check_template(tokenizer, name)
        place = choose_device(device)
        numbers = choose_dtype(dtype, place, config.dtype)
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source, config=config, dtype=numbers, output_loading_info=True, **common
            )
        model, info = loaded
    except UserError:
        raise
    except Exception as error:  # damaged model folders raise many kinds of errors
        raise UserError(explain(name, source, error)) from error
    check_cacheable(model)
    check_weights(model, info, name)
    check_token_ids(model, tokenizer, [example], name)
    check_stops(model, name)
    model.requires_grad_(False)
    model.eval().to(place)
    shown = name if name in PACKAGED else (Path(source).name if os.path.isdir(source) else source)
    known = getattr(config, "_commit_hash", None) or revision
    return ChatModel(
        model=model,
        tokenizer=tokenizer,
        name=shown,
        base_id=found.base_id,
        revision=known,
        licence=found.licence,
        quantisation=found.quantisation,
        sketch=Sketch.of(model),
        weights=weights_digest(model),
    )


def load_tokenizer(name: str, say: Say = lambda _: None) -> Any:
    """Load a tokenizer without its model.

    Args:
        name: Name of a packaged model, a folder with a tokenizer, or a hub id.
        say: Called with progress messages.

    Raises:
        UserError: If it cannot be loaded.
    """
    path = Path(name).expanduser()
    source = str(PACKAGED[name].prepare(say)) if name in PACKAGED else str(path) if path.exists() else name
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(source)
    except Exception as error:  # damaged folders raise many kinds of errors
        raise UserError(
            f"There is no tokenizer in {name} ({short(str(error))[:100]}); give the folder or the hub id of the model that is "
            "served."
        ) from error


def explain(name: str, source: str, error: Exception) -> str:
    """Message for a model that could not be loaded."""
    text = " ".join(str(error).split())
    if "gated" in text.lower() or "401" in text:
        return (
            f"{name} is a gated model: accept its terms on its hub page and set HF_TOKEN to a token with read access."
        )
    if "trust_remote_code" in text:
        return (
            f"{name} needs code from its repository; read that code first, and set `trust_remote_code` if you trust it."
        )
    if "ignore_mismatched_sizes" in text:
        return f"The weights of {name} have other shapes than its config.json says; {ADVICE}."
    # Library messages are long. The first sentence says what is wrong.
    first = re.split(r"(?<=[^.])\. ", text)[0][:200].rstrip(".")
    if os.path.isdir(source):
        return f"The folder {name} could not be loaded as a causal chat model ({first}); {ADVICE}."
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
    return f"{name} is neither a local folder nor a model that could be downloaded from the hub{offline}: {first}."
