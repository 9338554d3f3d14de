"""Run the command line with `python -m babelguard`."""

from babelguard.cli import main

if __name__ == "__main__":
    main()
