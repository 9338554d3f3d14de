"""The Modelfile, from which Ollama creates a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Parameters of Ollama by their names in generation_config.json.
PARAMETERS = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
# Ollama's own default is smaller, and it drops the beginning of a chat that does not fit.
CONTEXT = 8192


def modelfile(file: str, generation: Mapping[str, Any], context: int | None) -> str:
    """Return the text of a Modelfile.

    It has no TEMPLATE, which would replace the chat template in the file and with it the safety prompt.

    Args:
        file: Name of the GGUF file in the same folder.
        generation: The generation configuration of the model.
        context: The largest number of tokens that the model can read, if known.
    """
    lines = [
        "# ollama create NAME -f Modelfile",
        "# Do not add TEMPLATE: the chat template in the file inserts the safety prompt.",
        f"FROM ./{file}",
        f"PARAMETER num_ctx {min(CONTEXT, context or CONTEXT)}",
    ]
    lines += [f"PARAMETER {name} {generation[key]}" for key, name in PARAMETERS.items() if _number(generation.get(key))]
    if generation.get("do_sample") is False:
        lines.append("PARAMETER temperature 0")
    return "\n".join(lines) + "\n"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
