"""`python -m babelguard`: the same as the command `babelguard`."""

from babelguard.cli import main

if __name__ == "__main__":
    main()
