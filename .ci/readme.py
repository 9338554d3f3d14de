"""Run the commands of the README: each line of its `sh` blocks and each `python` block, in order, in the virtual environment.

Lines that clone the repository are skipped. `babelguard chat` gets a short conversation on standard input.
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
SKIPPED = ("git clone", "cd ", "make test", "#")
CONVERSATION = "What is the capital of Denmark?\n/defence off\n/compare\n/quit\n"


def run(command: list[str], environment: dict[str, str]) -> None:
    """Run one command and print its time. Stop if it fails."""
    shown = " ".join(command) if len(command) < 8 else command[0]
    print(f"\n$ {shown}", flush=True)
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=environment, input=CONVERSATION, text=True)
    print(f"[{time.monotonic() - began:.0f} s, exit code {done.returncode}]", flush=True)
    if done.returncode:
        sys.exit(f"This command of the README failed: {shown}")


def main() -> None:
    """Run all commands of the README."""
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "COLUMNS": "120"}
    for kind, content in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        if kind == "python":
            run([sys.executable, "-c", content], environment)
            continue
        for line in content.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith(SKIPPED):
                run(["sh", "-c", line], environment)


if __name__ == "__main__":
    main()
