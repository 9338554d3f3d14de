"""Run the command line: the program `babelguard`, or `python -m babelguard`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Ctrl+C while it is imported, which takes a second, exits with code 130 as later."""
    try:
        from babelguard.cli import main as run

        run()
    except KeyboardInterrupt:
        print("\nStopped. Finished work is kept; run the same command again to resume.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
