"""Load a frozen chat model by name, and refuse what cannot be defended, each with one sentence."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from babelguard.chat_template import chat_template_of
from babelguard.engine import check_cacheable
from babelguard.errors import UserError
from babelguard.models.gguf import Say

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class ChatModel:
    """A frozen model with its tokenizer.

    Attributes:
        model: The causal language model, in evaluation mode, without gradients.
        tokenizer: Its tokenizer, with the model's own chat template.
        name: What the user called it, without the path of a local folder.
        base_id: Hub id of the base model for model cards, as far as it is known.
        revision: Revision, as far as it is known.
        licence: Licence of the base model, as far as it is known.
        fingerprint: Hash of a sample of the embeddings: prompts are bound to it.
        weights: Hash of a sample of all weights: runs and logged replies are bound to it.
    """

    model: Any
    tokenizer: Any
    name: str
    base_id: str
    revision: str | None
    licence: str | None
    fingerprint: str
    weights: str

    @property
    def device(self) -> torch.device:
        """Where the input embeddings live."""
        return torch.device(self.model.get_input_embeddings().weight.device)

    @property
    def stop_ids(self) -> list[int]:
        """Ids that end a reply: those of the generation configuration and of the tokenizer."""
        configured = self.model.generation_config.eos_token_id
        ids = set(configured if isinstance(configured, list) else [configured])
        ids |= {self.tokenizer.eos_token_id}
        return sorted(i for i in ids if i is not None)

    @property
    def context(self) -> int:
        """Longest chat in tokens."""
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 2048)


def choose_device(wanted: str) -> torch.device:
    """The device of that name; `auto` takes an accelerator if there is one."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"The device '{wanted}' cannot be used on this machine; leave --device out or choose cpu."
        ) from error
    return device


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The dtype of that name; `auto` takes bfloat16 where the hardware computes in it, else float32."""
    if wanted != "auto":
        if wanted not in DTYPES:
            raise UserError(f"The dtype '{wanted}' is not known; choose auto or one of {', '.join(DTYPES)}.")
        return DTYPES[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and platform.machine() in ("x86_64", "AMD64"):
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        return torch.bfloat16 if native() else torch.float32
    return torch.float32


def fingerprint(model: Any) -> str:
    """Hash of a sample of the input embeddings and of the widths: another base model has another one.

    The sample is rounded to bfloat16, so that loading the same model in another dtype gives the same hash. A fine-tune
    that leaves the embeddings alone has the same one, and so has the model in a quantised form: a prompt fits it, more or
    less.
    """
    weight = model.get_input_embeddings().weight
    rows = torch.linspace(0, weight.shape[0] - 1, min(256, weight.shape[0])).long()
    sample = weight.detach()[rows.to(weight.device), : min(64, weight.shape[1])].to("cpu", torch.bfloat16).contiguous()
    digest = hashlib.sha256(f"{tuple(weight.shape)}/{model.config.get_text_config().num_hidden_layers}".encode())
    digest.update(sample.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:16]


def weights_digest(model: Any, sample: int = 64) -> str:
    """Hash of a sample of every parameter: a fine-tune has another one, down to adapters that were merged."""
    digest = hashlib.sha256(fingerprint(model).encode())
    for name, parameter in sorted(model.named_parameters()):
        values = parameter.detach().flatten()
        count = min(sample, len(values))
        places = torch.arange(count, device=values.device) * (len(values) - 1) // max(1, count - 1)
        digest.update(name.encode() + values[places].double().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def resolve(name: str, say: Say) -> tuple[str, str, str | None]:
    """Turn what the user typed into (path or hub id, base id, licence)."""
    if name == "demo":
        from babelguard.models.demo import BASE_ID, prepare_demo

        return str(prepare_demo(say)), BASE_ID, "gemma"
    if name == "smollm2":
        from babelguard.models import smollm2

        return str(smollm2.prepare_smollm2(say)), smollm2.BASE_ID, "apache-2.0"
    path = Path(name).expanduser()
    if path.exists() or name.startswith((".", "/", "~")):
        if not path.is_dir():
            raise UserError(f"{name} is no model folder; give a folder that holds config.json, a hub id, or demo.")
        if not (path / "config.json").exists():
            raise UserError(f"The folder {name} holds no model: there is no config.json in it.")
        return str(path), path.resolve().name, None
    return name, name, None


def check_kind(config: Any, name: str) -> None:
    """Refuse encoder-decoder and embedding models by name."""
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"{name} is an encoder-decoder model (type '{config.model_type}'); choose a causal chat model.")
    architectures = list(getattr(config, "architectures", None) or [])
    if architectures and not any(
        "CausalLM" in a or "LMHead" in a or "ConditionalGeneration" in a for a in architectures
    ):
        raise UserError(
            f"{name} is a {architectures[0]}, which does not write text (an embedding or classification model); choose a "
            "causal chat model."
        )


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
        name: 'demo', 'smollm2', a local folder or a hub id.
        revision: Of a hub model.
        device: See `choose_device`.
        dtype: See `choose_dtype`.
        trust_remote_code: Run the hub's model code; only if the user asked.
        say: Is told what is going on.

    Raises:
        UserError: for anything that cannot be loaded or defended.
    """
    source, base_id, licence = resolve(name, say)
    transformers_logging.disable_progress_bar()
    common: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(source, **common)
        check_kind(config, name)
        # Embedding models may have the architecture of a chat model; this file says what they are.
        if (Path(source) / "modules.json").exists():
            raise UserError(f"{name} is an embedding model, which does not write text; choose a causal chat model.")
        tokenizer = AutoTokenizer.from_pretrained(source, **common)
        chat_template_of(tokenizer)
        place = choose_device(device)
        model = AutoModelForCausalLM.from_pretrained(source, config=config, dtype=choose_dtype(dtype, place), **common)
    except UserError:
        raise
    except Exception as error:  # a model folder is foreign input: damaged ones raise many kinds
        raise UserError(explain(name, source, error)) from error
    check_cacheable(model)
    model.requires_grad_(False)
    model.eval().to(place)
    shown = name if name in ("demo", "smollm2") else (Path(source).name if os.path.isdir(source) else source)
    known = getattr(config, "_commit_hash", None) or revision
    return ChatModel(model, tokenizer, shown, base_id, known, licence, fingerprint(model), weights_digest(model))


def explain(name: str, source: str, error: Exception) -> str:
    """One sentence for a model that could not be loaded."""
    text = " ".join(str(error).split())
    if "gated" in text.lower() or "401" in text:
        return f"{name} is a gated model: accept its terms on its page and set HF_TOKEN to a token that may read it."
    if "trust_remote_code" in text:
        return f"{name} needs its own code to run; read that code first, and give --trust-remote-code if you trust it."
    # The libraries explain at length; the first sentence says what is wrong.
    first = re.split(r"(?<=[^.])\. ", text)[0][:200].rstrip(".")
    if os.path.isdir(source):
        return f"The folder {name} could not be loaded as a causal chat model: {first}."
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
    return f"{name} is neither a folder here nor a model that could be fetched from the hub{offline}: {first}."
