"""Convert a model folder to GGUF. This file runs as a process of its own, in which the converter package is importable.

The converter package contains another version of `gguf` than the one of the same name on PyPI, so the two cannot be in one
process. This module therefore imports nothing of babelguard. It reads a request as JSON from the standard input and writes
the answer as JSON to the file `answer` of the request.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

# The matrices of a layer that are quantised. Everything else keeps a float type.
LAYER = re.compile(r"blk\.\d+\.(attn_(q|k|v|qkv|output)|ffn_(gate|up|down|gate_up)(_exps|_shexp)?)\.weight")
# The tensors with a row per token. In quantised files they are F16, or F32 if a number is too large for it.
PER_TOKEN = ("token_embd.weight", "output.weight", "per_layer_token_embd.weight")
FLOATS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
LARGEST_F16 = 65504.0
# What the converter guesses from the name of a folder, which is a draft here.
GUESSED = ("basename", "finetune", "version", "organization", "author")
KIND = {"normal": 1, "control": 3, "user": 4, "unused": 5}


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """Write the GGUF file.

    Args:
        request: `model` (folder), `output` (file), `type` (such as "Q8_0", or None for the dtype of the model), `name`,
            `description`, `licence` (or None), `suppressed` (token ids), `tokens` (text of each placeholder by its id), and
            `pre_tokenizer` (name of llama.cpp, or None to recognise it).

    Returns:
        `type` of the file, `embedding`: the type of the embedding table, `own_head`: whether the output head has weights of
        its own, and `tensors`: the number of tensors of each type.
    """
    import gguf
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    folder, output = Path(request["model"]), Path(request["output"])
    architecture = get_model_architecture(ModelBase.load_hparams(folder, False), ModelType.TEXT)
    made = get_model_class(architecture)(folder, gguf.LlamaFileType.GUESSED, output, model_name=request["name"])
    stored = next(FLOATS.get(str(tensor.dtype)[6:], "F32") for _, tensor in made.get_tensors() if tensor.dim() > 1)
    wanted = request["type"] or stored
    others = wanted if wanted in FLOATS.values() else stored
    made.ftype = file_type(gguf, others)
    if request["pre_tokenizer"] is not None:
        made.get_vocab_base_pre = lambda tokenizer: request["pre_tokenizer"]
    forced, set_vocab = made.tensor_force_quant, made.set_vocab

    def tensor_type(name: str, new_name: str, block: int | None, dimensions: int) -> Any:
        """Choose the type of a tensor; False leaves the choice to the converter."""
        chosen = forced(name, new_name, block, dimensions)
        if chosen is not False:
            return chosen
        if wanted != others and LAYER.fullmatch(new_name):
            return gguf.GGMLQuantizationType[wanted]
        floats = "F16" if wanted != others and new_name in PER_TOKEN else others
        if floats == "F16" and dimensions > 1 and name in made.model_tensors and too_large(made.model_tensors[name]()):
            return gguf.GGMLQuantizationType.F32
        return gguf.GGMLQuantizationType[floats] if new_name in PER_TOKEN else False

    def vocabulary() -> None:
        """Write the vocabulary, then what babelguard adds to the metadata."""
        set_vocab()
        describe(made, request)
        made.gguf_writer.add_file_type(int(file_type(gguf, wanted)))

    made.tensor_force_quant, made.set_vocab = tensor_type, vocabulary
    made.write()
    found = {name: info.dtype.name for part in made.gguf_writer.tensors for name, info in part.items()}
    types = list(found.values())
    if wanted not in types:
        raise ValueError(f"none of its layers could be converted to {wanted}")
    return {
        "type": wanted,
        "embedding": found["token_embd.weight"],
        "own_head": "output.weight" in found,
        "tensors": {name: types.count(name) for name in sorted(set(types))},
    }


def file_type(gguf: Any, name: str) -> Any:
    """Return the file type of llama.cpp with this name."""
    return gguf.LlamaFileType["ALL_F32" if name == "F32" else f"MOSTLY_{name}"]


def too_large(tensor: Any) -> bool:
    """Whether a tensor has a number that float16 cannot represent."""
    from conversion.base import LazyTorchTensor

    return bool(LazyTorchTensor.to_eager(tensor).abs().max() > LARGEST_F16)


def describe(made: Any, request: dict[str, Any]) -> None:
    """Add the placeholders, the suppressed tokens, the chat template and the licence to the metadata.

    The converter takes the special tokens of sentencepiece models from a file that newer tokenizers do not write, so their
    texts and kinds are taken from `tokenizer.json`. Otherwise the placeholders in a chat would be read as ordinary text.
    """
    writer, folder, rows = made.gguf_writer, Path(request["model"]), int(made.hparams["vocab_size"])
    found = writer.kv_data[0]
    tokens, kinds = found["tokenizer.ggml.tokens"].value, found["tokenizer.ggml.token_type"].value
    tokens += [f"[PAD{k}]" for k in range(len(tokens), rows)]
    kinds += [KIND["unused"]] * (rows - len(kinds))
    if "tokenizer.ggml.scores" in found:
        scores = found["tokenizer.ggml.scores"].value
        scores += [-1000.0] * (rows - len(scores))
        for token in json.loads((folder / "tokenizer.json").read_text("utf-8"))["added_tokens"]:
            number, text = token["id"], token["content"]
            special = token["special"] or made.does_token_look_special(text)
            if kinds[number] in (KIND["normal"], KIND["user"], KIND["unused"]):
                kinds[number] = KIND["control" if special else "user"]
                tokens[number] = text if special else text.replace("\u2581", " ")
    for number, text in request["tokens"].items():
        if tokens[int(number)] not in (text, text.encode()) or kinds[int(number)] not in (
            KIND["control"],
            KIND["user"],
        ):
            raise ValueError(f"its token {number} is not the placeholder {text}")
    for key in [key for key in found if key.partition(".")[0] == "general" and key.partition(".")[2] in GUESSED]:
        del found[key]
    writer.add_chat_template((folder / "chat_template.jinja").read_text("utf-8"))
    writer.add_suppress_tokens(request["suppressed"])
    writer.add_description(request["description"])
    if request["licence"] is not None:
        writer.add_license(request["licence"])


def main() -> None:
    """Read the request, convert, and write the answer or the error."""
    request = json.load(sys.stdin)
    try:
        answer = convert(request)
    except Exception as error:  # the converter raises anything
        answer = {
            "error": type(error).__name__,
            "message": " ".join(str(error).split()),
            "errno": getattr(error, "errno", None),
        }
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
