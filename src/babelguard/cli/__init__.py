"""The command line, one file per command."""

from babelguard.cli.app import app, main

__all__ = ["app", "main"]
