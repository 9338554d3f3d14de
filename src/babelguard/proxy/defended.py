"""What the proxy knows about a defended model, from the folder of its export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babelguard.export.manifest import Manifest, check_files, read_manifest
from babelguard.export.openai_messages import Payload, read_payload

# What vLLM renders in place of prompt embeddings.
SENTINEL = "<prompt_embeds>"
_EMBEDDINGS = "prompt-embeds"


@dataclass(frozen=True)
class Defended:
    """A defended model behind an engine.

    Attributes:
        name: The name that clients use.
        upstream_name: The name at the engine.
        tokens: The placeholder strings.
        token_ids: Their ids.
        payload: The vectors of the prompt, if the engine gets them with every request. Otherwise the engine's chat template
            inserts the prompt.
        suppress: Whether the engine is told never to generate the placeholders.
        refused: Fields that are refused although the proxy knows them.
    """

    name: str
    upstream_name: str
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    payload: Payload | None = None
    suppress: bool = True
    refused: frozenset[str] = frozenset()

    @property
    def placeholders(self) -> tuple[str, ...]:
        """All strings that texts may not contain."""
        return (*self.tokens, SENTINEL) if self.payload else self.tokens

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request with the vectors, and with the variables of the chat template that they were trained with.

        Variables that the client sets are kept.

        Args:
            request: A request whose fields were checked.
        """
        if self.payload is None:
            return request
        variables = self.payload.chat_template_kwargs | request.get("chat_template_kwargs", {})
        more = {"chat_template_kwargs": variables} if variables else {}
        return request | {"messages": self.payload.messages(request["messages"])} | more


def read_export(folder: Path) -> tuple[Manifest, Payload | None]:
    """Read what the proxy needs of an export: its manifest, and the vectors if the engine gets them with every request.

    Raises:
        UserError: If it is not an export, or is damaged.
    """
    manifest = read_manifest(folder, check=False)  # other exports are read by the engine, and may have many gigabytes
    if manifest.exporter != _EMBEDDINGS:
        return manifest, None
    check_files(folder, manifest)
    return manifest, read_payload(folder)
