"""Chat models that are installed as Python packages and can be used without a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from babelguard.models import demo, smollm2
from babelguard.models.gguf import Say


class Packaged(NamedTuple):
    """A packaged model.

    Attributes:
        base_id: Hub id of the base model.
        licence: Its licence, as in hub metadata.
        prepare: Converts the model on the first call and returns its folder.
    """

    base_id: str
    licence: str
    prepare: Callable[[Say], Path]


PACKAGED = {
    "demo": Packaged(demo.BASE_ID, "gemma", demo.prepare_demo),
    "smollm2": Packaged(smollm2.BASE_ID, "apache-2.0", smollm2.prepare_smollm2),
}
