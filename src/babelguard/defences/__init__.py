"""Defences, one file each; see `babelguard.defences.base` for the contract."""

from babelguard.defences.base import Defence
from babelguard.defences.none import NoDefence
from babelguard.defences.soft import SoftDefence
from babelguard.defences.written import WrittenDefence

__all__ = ["Defence", "NoDefence", "SoftDefence", "WrittenDefence"]
