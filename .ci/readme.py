"""Run the commands of the README: each line of its `sh` blocks and each `python` block, in order, in the virtual environment.

Lines that clone the repository or start vLLM are skipped. `babelguard chat` gets a short conversation on standard input. The
quickstart takes about 20 minutes, so `make quickstart-ci` runs instead: the same job on a smaller model, with fewer languages,
steps and rows. The other commands then use this model and its run. Each replacement is printed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SKIPPED = ("git clone", "cd ", "make test", "vllm serve", "#")
CONVERSATION = "What is the capital of Denmark?\n/defence off\n/compare\n/quit\n"
REPLACED = (
    ("make quickstart", "make quickstart-ci"),
    ("runs/demo-quick-seed0", "runs/qwen2.5-coder-0.5b-quick-seed0"),
    ('packaged_folder("demo")', 'packaged_folder("qwen2.5-coder-0.5b")'),
)


def run(command: list[str], environment: dict[str, str]) -> None:
    """Run one command and print its time. Stop if it fails."""
    shown = " ".join(command) if len(command) < 8 else command[0]
    print(f"\n$ {shown}", flush=True)
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=environment, input=CONVERSATION, text=True)
    print(f"[{time.monotonic() - began:.0f} s, exit code {done.returncode}]", flush=True)
    if done.returncode:
        sys.exit(f"This command of the README failed: {shown}")


def commands(page: str) -> list[list[str]]:
    """Return the commands of a Markdown page, with the replacements, and print each replacement.

    Stops if there is nothing to replace any more, because then this script tests less than it says.
    """
    for old, _ in REPLACED:
        if not any(old in content for _, content in BLOCK.findall(page)):
            sys.exit(f"The commands of the README do not contain '{old}'; update REPLACED in .ci/readme.py.")
    found = []
    for kind, content in BLOCK.findall(page):
        for line in [content] if kind == "python" else content.replace("\\\n", " ").splitlines():
            if not line.strip() or line.startswith(SKIPPED):
                continue
            other = line
            for old, new in REPLACED:
                if old in other:
                    other = other.replace(old, new)
                    print(f"README: '{old}' is replaced by '{new}'", flush=True)
            found.append([sys.executable, "-c", other] if kind == "python" else ["sh", "-c", other])
    return found


def main() -> None:
    """Run all commands of the README."""
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "COLUMNS": "120"}
    for command in commands((ROOT / "README.md").read_text(encoding="utf-8")):
        run(command, environment)


if __name__ == "__main__":
    main()
