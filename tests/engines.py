"""Engines that serve an exported model over HTTP, each in a process of its own that ends with the test."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

# llama-server in a process, with one thread, float32 keys and values, and thinking off. It ends when its standard input is
# closed, so it cannot outlive the tests.
LLAMA_SERVER = """
import sys, xllamacpp as llama
params = llama.CommonParams()
params.model.path, params.model_alias, params.port, params.n_ctx = sys.argv[1], {"defended"}, 0, int(sys.argv[2])
params.n_parallel, params.warmup, params.use_jinja, params.ui, params.enable_reasoning = 1, False, True, False, 0
params.cache_type_k = params.cache_type_v = llama.ggml_type.GGML_TYPE_F32
params.flash_attn_type = llama.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = llama.Server(params)
print("address", server.listening_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def llama_cpp(file: Path, context: int = 1024) -> Iterator[str]:
    """Serve a GGUF file with llama.cpp as the model `defended`; give the address of its OpenAI API."""
    command = [sys.executable, "-c", LLAMA_SERVER, str(file), str(context)]
    with TemporaryFile("w+") as log:
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            said = (line.split() for line in server.stdout)
            address = next((words[1] for words in said if words[:1] == ["address"]), None)
            if address is None:
                log.seek(0)
                raise RuntimeError(f"llama.cpp does not serve {file.name}: {log.read()[-2000:]}")
            yield f"{address}/v1"
        finally:
            server.stdin.close()
            server.kill()
            server.wait()
            server.stdout.close()


@contextmanager
def transformers_serve(folder: Path) -> Iterator[str]:
    """Serve a model folder with `transformers serve`, by its path; give the address of its OpenAI API."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    program = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
    command = [sys.executable, "-c", program, "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    log = folder.with_name(folder.name + ".log")
    with log.open("w") as errors:
        settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        server = subprocess.Popen(
            [*command, "--device", "cpu"], stdout=errors, stderr=errors, env=os.environ | settings
        )
        try:
            for _ in range(600):
                assert server.poll() is None, log.read_text()[-2000:]
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()
            server.wait()


def post(address: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a JSON request."""
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def greedy(address: str, messages: list[dict[str, Any]], tokens: int = 16, top: int = 5, **more: Any) -> dict[str, Any]:
    """Ask the model `defended` for its most likely reply; give the first choice."""
    body = {"model": "defended", "messages": messages, "max_tokens": tokens, "temperature": 0, "logprobs": True}
    return post(f"{address}/chat/completions", body | {"top_logprobs": top} | more)["choices"][0]


def rendered_by_llama_cpp(address: str, messages: list[dict[str, Any]]) -> list[int]:
    """Return the token ids of a chat, as llama.cpp renders and tokenises it."""
    root = address.removesuffix("/v1")
    text = post(f"{root}/apply-template", {"messages": messages})["prompt"]
    return post(f"{root}/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]


def continued_by_llama_cpp(address: str, ids: list[int], tokens: int = 16) -> list[int]:
    """Return the token ids of the most likely continuation of token ids."""
    body = {"prompt": ids, "n_predict": tokens, "temperature": 0, "return_tokens": True}
    return post(f"{address.removesuffix('/v1')}/completion", body)["tokens"]
