"""Export a GGUF file for llama.cpp and Ollama, and a Modelfile."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from babelguard.errors import UserError
from babelguard.export.base import Base, Exported, Options, ServeCommand
from babelguard.export.card import title
from babelguard.export.checkpoint import Checkpoint, check_space
from babelguard.export.licences import terms_of
from babelguard.export.llama_cpp import converter
from babelguard.export.llama_cpp.modelfile import modelfile
from babelguard.export.settings_files import NOTICES
from babelguard.files import read_json_file
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.template import templates_of, thinking_switch
from babelguard.screen import Screen

# What the converter can compute. Files with other types are made from a file of 16 bits with llama.cpp's llama-quantize.
QUANTISATIONS = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
SERVED = "defended"
NOTES = (
    "The chat template in the file inserts the safety prompt: do not give the server another one, and no TEMPLATE to Ollama.",
    "The placeholders are in `tokenizer.ggml.suppress_tokens`, which llama.cpp's own samplers read and bindings may not.",
    "If a server shifts its context, it drops the beginning of a chat and with it the prompt; leave context shifts off.",
)
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class Gguf:
    """Writes the model of the exporter `checkpoint` as a GGUF file with the chat template and the suppressed tokens.

    The embedding table and the output head are F16, BF16 or F32, also in quantised files, so quantisation does not touch the
    soft prompt.
    """

    name = "gguf"

    def write(self, base: Base, prompt: SafetyPrompt, folder: Path, screen: Screen, options: Options) -> Exported:
        """Write the GGUF file; see `Exporter.write`. Options: `quantisation` and `pre_tokenizer`."""
        options.check(self.name, "quantisation", "pre_tokenizer")
        quantisation = chosen_type(options)
        converter.check()
        pre_tokenizer = chosen_pre_tokenizer(options)
        draft = folder / "checkpoint"
        check_space(folder, 2 * base.weights.size)
        draft.mkdir()
        screen.say("  writing a checkpoint to convert")
        Checkpoint().write(base, prompt, draft, screen, Options(options.dtype))
        # The vocabulary of Gemma, Llama 2 and early Mistral models.
        if (base.folder / "tokenizer.model").is_file():
            shutil.copyfile(base.folder / "tokenizer.model", draft / "tokenizer.model")
        # The converter trusts the code of some models, whatever the user said.
        for code in () if base.trust_remote_code else draft.glob("*.py"):
            code.unlink()
        generation = read_json_file(draft / "generation_config.json")
        screen.say("  converting it with llama.cpp's converter")
        output = folder / "model.gguf"
        made = converter.run(request(base, prompt, draft, output, generation, quantisation, pre_tokenizer), base.name)
        for notice in (path for path in draft.iterdir() if any(mark in path.name.upper() for mark in NOTICES)):
            notice.rename(folder / notice.name)
        shutil.rmtree(draft)
        file = file_name(title_of(base, prompt), made["type"])
        output.rename(folder / file)
        context = getattr(base.config.get_text_config(), "max_position_embeddings", None)
        (folder / "Modelfile").write_text(modelfile(file, generation, context), encoding="utf-8")
        if not made["own_head"]:
            screen.say("  llama.cpp has no separate head for this architecture, so placeholders are only suppressed")
        facts = {
            "file": file,
            "type": made["type"],
            "tensors": made["tensors"],
            "own_head": made["own_head"],
            "converter": f"{converter.NAME} (SHA-256 {converter.SHA256[:12]})",
        }
        return Exported(
            serve=serve_commands(file, thinks(base.tokenizer)),
            facts=facts,
            dtype=DTYPES[made["embedding"]],
            served_name=SERVED,
            notes=NOTES,
            library="gguf",
            relation="quantized" if quantisation else "finetune",
        )


def request(
    base: Base,
    prompt: SafetyPrompt,
    checkpoint: Path,
    output: Path,
    generation: dict[str, Any],
    quantisation: str | None,
    pre_tokenizer: str | None,
) -> dict[str, Any]:
    """Return the request to the converter; see `babelguard.export.llama_cpp.process.convert`."""
    slot = prompt.slot
    return {
        "model": str(checkpoint),
        "output": str(output),
        "type": quantisation,
        "name": f"{title_of(base, prompt)} defended",
        "description": f"{base.base_id} with a safety prompt of babelguard in its embedding table and chat template",
        "licence": prompt.base_licence or base.licence,
        "suppressed": generation["suppress_tokens"],
        "tokens": dict(zip(map(str, slot.token_ids), slot.tokens, strict=True)),
        "pre_tokenizer": pre_tokenizer,
    }


def serve_commands(file: str, thinking: bool) -> tuple[ServeCommand, ...]:
    """Return the commands that serve a file.

    Args:
        file: Its name.
        thinking: Whether the engines would turn thinking on, for which the prompt was not trained.
    """
    llama = f"llama-server --model EXPORT/{file} --jinja --alias {SERVED} --port 8000" + " --reasoning off" * thinking
    ollama = f"ollama create {SERVED} -f EXPORT/Modelfile && ollama run {SERVED}" + " --think=false" * thinking
    return (ServeCommand("llama.cpp", "b10488", llama, False), ServeCommand("Ollama", "", ollama, False))


def thinks(tokenizer: Any) -> bool:
    """Whether the chat template has the variable with which llama.cpp and Ollama turn thinking on."""
    return any(thinking_switch(source) == "enable_thinking" for source in templates_of(tokenizer).values())


def chosen_type(options: Options) -> str | None:
    """Return the type of the layers of the model, or None if they are not quantised.

    Raises:
        UserError: If the type is not available.
    """
    wanted = options.given.get("quantisation")
    if wanted is None:
        return None
    if wanted.lower() not in QUANTISATIONS:
        raise UserError(
            f"The `options` quantisation cannot be '{wanted}'; choose {', '.join(QUANTISATIONS)}, or leave it out and set "
            "`dtype` to float32, bfloat16 or float16."
        )
    return wanted.upper()


def chosen_pre_tokenizer(options: Options) -> str | None:
    """Return the name that is given to the pre-tokenizer, or None to recognise it.

    Raises:
        UserError: If the converter does not know the name.
    """
    wanted = options.given.get("pre_tokenizer")
    if wanted is not None and wanted not in converter.pre_tokenizers():
        raise UserError(
            f"The `options` pre_tokenizer cannot be '{wanted}'; available: {', '.join(sorted(converter.pre_tokenizers()))}."
        )
    return wanted


def title_of(base: Base, prompt: SafetyPrompt) -> str:
    """Return the name of the base model, which begins as its licence requires."""
    return title(base, terms_of(prompt.base_licence or base.licence))


def file_name(name: str, kind: str) -> str:
    """Return the name of the GGUF file, which ends in its type as hubs and Ollama expect."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.') or 'model'}-defended-{kind}.gguf"
