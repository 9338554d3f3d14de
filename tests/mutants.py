"""Check the tests: introduce one mistake at a time into a copy of the sources, and run the tests that must notice it.

Run it with `make mutants`. It prints one line per mutant and exits with 1 if a mutant survives. The mutants are
in mutant_list.py. If a mutated line is changed, update its text there; the script stops if it does not find it exactly once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutant_list import MUTANTS, Mutant

ROOT = Path(__file__).parents[1]
TOGETHER = 2
# Loaded by pytest in every run: the copy must be tested, not the installed package.
PLUGIN = """
import os
import babelguard

def pytest_configure():
    assert babelguard.__file__.startswith(os.environ["BABELGUARD_COPY"]), babelguard.__file__
"""


def copy_sources(folder: Path) -> Path:
    """Copy the sources into a folder, and write the plugin next to them."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.gguf"))
    (folder / "src" / "which_copy.py").write_text(PLUGIN, encoding="utf-8")
    return folder / "src"


def mutated(mutant: Mutant) -> str:
    """Return the content of a file with the mistake in it.

    Raises:
        SystemExit: If the text to replace does not occur exactly once.
    """
    path = ROOT / "src" / "babelguard" / mutant.file
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text.count(mutant.old) != 1:
        raise SystemExit(
            f"{mutant.name}: the text occurs {text.count(mutant.old)} times in {mutant.file}: {mutant.old!r}"
        )
    return text.replace(mutant.old, mutant.new)


def run_tests(tests: tuple[str, ...], source: Path) -> tuple[int, str]:
    """Run tests against a copy of the sources. Returns the exit status and the end of the output."""
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "BABELGUARD_COPY": str(source),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    found = [str(ROOT / "tests" / name) for name in tests]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "which_copy", "--tb=line"]
    command = [sys.executable, "-m", "pytest", *options, f"--basetemp={source.parent / 'pytest'}", *found]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr)[-2000:]


def survives(mutant: Mutant) -> bool:
    """Test one mutant and print the result."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        source = copy_sources(Path(folder))
        (source / "babelguard" / mutant.file).write_text(mutated(mutant), encoding="utf-8")
        status, output = run_tests(mutant.tests, source)
    # 1: a test failed. Any other status means that the tests did not run.
    if status not in (0, 1):
        raise SystemExit(f"{mutant.name}: pytest ended with status {status}\n{output}")
    word = "SURVIVED" if status == 0 else "killed"
    failed = next((line for line in output.splitlines() if line.startswith("FAILED")), "")
    by = failed.partition("::")[2].partition(" - ")[0]
    print(f"{word:8}  {time.monotonic() - began:5.1f} s  {mutant.name}{f'  (by {by})' if by else ''}", flush=True)
    if status == 0:
        print(f"          {mutant.consequence} Not noticed by: {', '.join(mutant.tests)}", flush=True)
    return status == 0


def main() -> int:
    """Run the tests without a mutant first, then with each mutant."""
    chosen = [mutant for mutant in MUTANTS if not sys.argv[1:] or any(word in mutant.name for word in sys.argv[1:])]
    began = time.monotonic()
    for mutant in chosen:
        mutated(mutant)
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tests = tuple(dict.fromkeys(name for mutant in chosen for name in mutant.tests))
        status, output = run_tests(tests, copy_sources(Path(folder)))
    if status != 0:
        print(f"The tests fail without a mutant, so they show nothing.\n{output}")
        return 1
    print(f"passed    {time.monotonic() - began:5.1f} s  without a mutant", flush=True)
    with ThreadPoolExecutor(TOGETHER) as pool:
        alive = sum(pool.map(survives, chosen))
    print(f"{len(chosen) - alive} of {len(chosen)} mutants killed in {time.monotonic() - began:.0f} s")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
