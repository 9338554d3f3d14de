"""What the proxy knows about a defended model, from the folder of its export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babelguard.errors import UserError
from babelguard.files.records import Record, read_record
from babelguard.prompt.preamble import SEPARATOR

MANIFEST = "babelguard.json"
# What vLLM renders in place of prompt embeddings.
SENTINEL = "<prompt_embeds>"


class _Manifest(Record):
    exporter: str
    tokens: list[str]
    token_ids: list[int]
    served_name: str | None = None


@dataclass(frozen=True)
class Defended:
    """A defended model behind an engine.

    Attributes:
        name: The name that clients use.
        upstream_name: The name at the engine.
        tokens: The placeholder strings.
        token_ids: Their ids.
        payload: The content part with the prompt's embeddings, if the engine gets it with every request.
        built_in: The built-in system text of the model, which follows a payload if a chat has no system message.
        suppress: Whether the engine is told never to generate the placeholders.
    """

    name: str
    upstream_name: str
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    payload: dict[str, str] | None = None
    built_in: str = ""
    suppress: bool = True

    @property
    def placeholders(self) -> tuple[str, ...]:
        """All strings that texts may not contain."""
        return (*self.tokens, SENTINEL) if self.payload else self.tokens

    def with_prompt(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the messages with the payload, if there is one, in front of the text of the system message."""
        if self.payload is None:
            return messages
        first, *others = messages
        if first["role"] not in ("system", "developer"):
            first, others = {"role": "system", "content": self.built_in}, messages
        text = first.get("content")
        parts = [{"type": "text", "text": SEPARATOR + text}] if text else []
        return [first | {"content": [self.payload, *parts]}, *others]


def read_export(folder: Path) -> Defended:
    """Read the folder of an export."""
    manifest = read_record(folder / MANIFEST, _Manifest)
    if manifest is None:
        raise UserError(f"{folder} is not an export of babelguard; give a folder that 'babelguard export' wrote.")
    name = manifest.served_name or folder.resolve().name
    return Defended(name, name, tuple(manifest.tokens), tuple(manifest.token_ids))
