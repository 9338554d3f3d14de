"""The contract of an exporter."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from babelguard.models.load import ChatModel
from babelguard.prompt import SafetyPrompt
from babelguard.screen import Screen


class Exporter(Protocol):
    """Writes a defended model. Register an implementation under the entry point group `babelguard.exporters`.

    Attributes:
        name: Name of the exporter.
    """

    name: str

    def write(self, chat: ChatModel, prompt: SafetyPrompt, folder: Path, screen: Screen) -> None:
        """Write the export into an empty folder that exists.

        The caller moves the folder to its final place afterwards, so an interrupted export leaves nothing behind.

        Args:
            chat: The base model, which the prompt was trained for.
            prompt: The safety prompt.
            folder: Where to write.
            screen: Shows progress.

        Raises:
            UserError: If the model cannot be exported in this form, or the files cannot be written.
        """
        ...
