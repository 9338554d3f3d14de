"""Exporters write a defended model in a form that other software loads, one file each.

See `babelguard.export.base` for the contract.
"""

from babelguard.export.base import Base, Exported, Exporter, Options, ServeCommand

__all__ = ["Base", "Exported", "Exporter", "Options", "ServeCommand"]
