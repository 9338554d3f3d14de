"""The model card of an export; its text is in card.md.jinja."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from jinja2 import Template

from babelguard.export.base import Base, Exported
from babelguard.export.licences import Terms, terms_of
from babelguard.files import write_text
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.shapes import describe
from babelguard.prompt.storage import CARD

NOTICE = "NOTICE"
# What stands for the folder of an export in the commands of its card.
FOLDER = "path/to/this/folder"


def write_card(folder: Path, exporter: str, base: Base, prompt: SafetyPrompt, exported: Exported) -> None:
    """Write the model card, and the notice that the licence requires. They contain no path of this machine.

    Raises:
        UserError: If the folder cannot be written.
    """
    licence = prompt.base_licence or base.licence
    terms = terms_of(licence)
    if terms.notice and not any(NOTICE in path.name.upper() for path in folder.iterdir()):
        write_text(folder / NOTICE, terms.notice)
    text = files("babelguard.export").joinpath("card.md.jinja").read_text("utf-8")
    template = Template(text, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True)
    serve = [one._replace(command=fill(one.command, base.base_id, FOLDER)) for one in exported.serve]
    card = template.render(
        exporter=exporter,
        base=base,
        prompt=prompt,
        exported=exported,
        licence=licence,
        terms=terms,
        title=title(base, terms),
        serve=serve,
        served=exported.served_name or FOLDER,
        shapes=describe(prompt.slot.shapes) if prompt.slot.shapes else "",
    )
    write_text(folder / CARD, card)


def fill(command: str, base: str, folder: str) -> str:
    """Write the base model and the folder into a command; see `ServeCommand`."""
    return re.sub(r"\bBASE\b", lambda _: base, re.sub(r"\bEXPORT\b", lambda _: folder, command))


def title(base: Base, terms: Terms) -> str:
    """Return a name for the export, which begins as the licence requires."""
    name = base.base_id.rpartition("/")[2]
    return name if name.lower().startswith(terms.prefix.lower()) else f"{terms.prefix}-{name}"
