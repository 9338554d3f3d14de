"""Settings: one validated, nested configuration for the command line, TOML files and Python."""

from babelguard.config.load import load_settings
from babelguard.config.settings import Settings

__all__ = ["Settings", "load_settings"]
