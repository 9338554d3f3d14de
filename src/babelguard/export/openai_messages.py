"""Put the soft prompt of a `prompt-embeds` export into the messages of an OpenAI client; for trusted clients and proxies.

from openai import OpenAI
from babelguard.export.openai_messages import read_payload

payload = read_payload("EXPORT")
client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")
client.chat.completions.create(
    model="BASE", messages=payload.messages([{"role": "user", "content": "Hello"}]), extra_body=payload.extra_body
)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from babelguard.errors import UserError
from babelguard.files import Record, read_record

PAYLOAD = "prompt_embeds.json"
PART: Literal["prompt_embeds"] = "prompt_embeds"
ADVICE = "export the model again"


class Part(Record):
    """The part of a message that holds the soft prompt.

    Attributes:
        type: The kind of the part.
        data: The vectors, [n, d], as torch.save writes them, in base64.
    """

    type: Literal["prompt_embeds"]
    data: str


class Payload(Record):
    """The content of prompt_embeds.json.

    Attributes:
        part: The soft prompt.
        default_system: The system text that the chat template writes if a chat has none. It comes after the prompt.
        chat_template_kwargs: Variables of the chat template that the prompt was trained with.
    """

    part: Part
    default_system: str
    chat_template_kwargs: dict[str, bool]

    @property
    def extra_body(self) -> dict[str, Any]:
        """Further fields of each request."""
        return {"chat_template_kwargs": dict(self.chat_template_kwargs)} if self.chat_template_kwargs else {}

    def messages(self, given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the messages of a request with the soft prompt in front of the system text.

        The server must be started with the content format `string`, in which it joins the parts of a message with a line break.

        Args:
            given: The messages of the user.

        Raises:
            UserError: If they contain vectors already.
        """
        for message in given:
            parts = message.get("content")
            if isinstance(parts, list) and any(isinstance(one, Mapping) and one.get("type") == PART for one in parts):
                raise UserError("The messages already contain a prompt_embeds part; remove it.")
        rest = [dict(message) for message in given]
        system: Any = self.default_system
        if rest and rest[0].get("role") in ("system", "developer"):
            system = rest.pop(0).get("content") or ""
        texts = [{"type": "text", "text": system}] if isinstance(system, str) else [dict(part) for part in system]
        if texts and texts[0].get("text"):
            # The prompt is followed by an empty line, of which the server adds the first half.
            texts[0] = texts[0] | {"text": "\n" + texts[0]["text"]}
        content = [self.part.model_dump(), *(part for part in texts if part.get("text") != "")]
        return [{"role": "system", "content": content}, *rest]


def read_payload(folder: Path | str) -> Payload:
    """Read the payload of an export.

    Raises:
        UserError: If the folder has none, or it is damaged.
    """
    found = read_record(Path(folder) / PAYLOAD, Payload, ADVICE)
    if found is None:
        raise UserError(
            f"{folder} is not an export for prompt embeddings: it has no {PAYLOAD}; export the model first."
        )
    return found
