"""Convert a GGUF file to a safetensors folder once and cache it, because loading GGUF takes about a minute."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from babelguard.errors import UserError

Say = Callable[[str], None]


def cache_folder() -> Path:
    """Return the folder for converted models: $BABELGUARD_CACHE, or babelguard/ in the user's cache folder."""
    given = os.environ.get("BABELGUARD_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "babelguard"


def converted(
    folder: Path,
    assemble: Callable[[Path, Say], None],
    finish: Callable[[Any, Path], None],
    say: Say,
) -> Path:
    """Return the folder of a converted model. The first call converts it.

    Args:
        folder: Target folder. It is created in one rename, so an interrupted conversion leaves nothing incomplete.
        assemble: Writes the GGUF file to the given path.
        finish: Called with (model, folder) before the model is saved.
        say: Called with progress messages.

    Raises:
        UserError: If the folder cannot be written.
    """
    if (folder / "config.json").exists():
        return folder
    draft = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    try:
        draft.mkdir(parents=True, exist_ok=True)
        assemble(draft / "model.gguf", say)
        model, tokenizer = _load(draft, say)
        (draft / "model.gguf").unlink()
        finish(model, draft)
        _save(model, tokenizer, draft, say)
        try:
            os.replace(draft, folder)
        except OSError:
            if not (folder / "config.json").exists():
                raise
            shutil.rmtree(draft)  # another process was faster
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise UserError(
            f"The converted model could not be written to {folder.parent} ({error.strerror or error}); free some space "
            "there, or set BABELGUARD_CACHE to another folder."
        ) from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return folder


def _load(folder: Path, say: Say) -> tuple[Any, Any]:
    """Load the GGUF file as a model in bfloat16 and a tokenizer. Each tensor is rounded as soon as it is dequantised."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from babelguard.models.quiet import quiet

    logging.disable_progress_bar()
    say("converting the tokenizer (about 20 seconds)")
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
    drop_padding(tokenizer)
    say("converting the weights (about 40 seconds)")
    with quiet():  # it advises float32 for speed, but the model is only converted
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", dtype=torch.bfloat16)
    # transformers cannot save a model that still has its GGUF quantizer.
    model.hf_quantizer = None  # type: ignore[assignment]
    del model.config.quantization_config
    return model, tokenizer


def drop_padding(tokenizer: Any) -> None:
    """Remove the tokens that GGUF files add for rows of the embedding table without a token, such as `[PAD151665]`.

    The original tokenizer does not have them. Without them, placeholder tokens get the same ids in both.
    """
    from tokenizers import Tokenizer

    content = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    padding = [token for token, number in vocabulary.items() if token == f"[PAD{number}]"]
    if not padding:
        return
    for token in padding:
        del vocabulary[token]
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(content, ensure_ascii=False))


def _save(model: Any, tokenizer: Any, folder: Path, say: Say) -> None:
    say("writing safetensors")
    model.config._name_or_path = ""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
