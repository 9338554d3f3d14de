"""The model card of a safety prompt; its text is in card.md.jinja."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Template

from babelguard.models.packaged import PACKAGED
from babelguard.prompt.shapes import describe
from babelguard.prompt.slot import Slot
from babelguard.prompt.storage import PromptConfig

RESULTS = "## Results\n"


def model_card(config: PromptConfig, slot: Slot, results: str) -> str:
    """Render the model card. It contains no path of the machine that trained the prompt.

    Args:
        config: The content of config.json.
        slot: The position of the prompt.
        results: Markdown table of the results, or ''.
    """
    packaged = next((name for name, known in PACKAGED.items() if known.base_id == config.base_model), None)
    template = Template(
        files("babelguard.prompt").joinpath("card.md.jinja").read_text("utf-8"), keep_trailing_newline=True
    )
    shapes = describe(slot.shapes)
    return str(template.render(prompt=config, slot=slot, results=results, packaged=packaged, shapes=shapes))


def results_of(card: str) -> str:
    """Extract the results section of a model card."""
    _, _, rest = card.partition(RESULTS)
    return rest.partition("\n## ")[0].strip()
