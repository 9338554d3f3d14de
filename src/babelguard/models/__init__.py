"""Load chat models, identify them, and measure the properties that the method depends on."""

from babelguard.models.packaged import packaged_folder

__all__ = ["packaged_folder"]
