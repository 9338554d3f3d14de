"""The model card of an export; its text is in card.md.jinja."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from jinja2 import Template

from babelguard.export.base import Base, Exported
from babelguard.files import write_text
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.storage import CARD


def write_card(folder: Path, exporter: str, base: Base, prompt: SafetyPrompt, exported: Exported) -> None:
    """Write the model card. It contains no path of the machine that exported the model.

    Raises:
        UserError: If the folder cannot be written.
    """
    text = files("babelguard.export").joinpath("card.md.jinja").read_text("utf-8")
    template = Template(text, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True)
    write_text(folder / CARD, template.render(exporter=exporter, base=base, prompt=prompt, exported=exported))
