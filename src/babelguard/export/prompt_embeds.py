"""Export the soft prompt as the payload that vLLM takes in a chat request. The weights of the base model are not copied."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import torch
from torch import Tensor

from babelguard.errors import UserError
from babelguard.export.base import Base, Exported, Options, ServeCommand
from babelguard.export.openai_messages import PART, PAYLOAD, Part, Payload
from babelguard.files import write_json
from babelguard.models.checks import chat_template_of
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.template import thinking_switch
from babelguard.screen import Screen

SERVE = (
    ServeCommand("vLLM", "0.21", "vllm serve BASE --enable-prompt-embeds --chat-template-content-format string", False),
)
NOTES = (
    "Every request must contain the prompt. A request without it is undefended, and one with other vectors replaces it. So let "
    "users reach only a proxy that adds it, such as `babelguard proxy`, and never the server itself.",
    "vLLM says of this option: only enable it for trusted users. Vectors of a wrong shape can stop it, old versions could "
    "be made to run code (CVE-2025-62164), and `VLLM_MAX_EMBED_DECODE_BYTES` limits the memory that a request can ask for.",
    "The system text that the chat template of the base model writes on its own is in `prompt_embeds.json` as it was when the "
    "prompt was trained; a date in it stays that of this day.",
)


class PromptEmbeds:
    """Writes the part of a system message that holds the soft prompt, as JSON.

    The server runs the base model with its own tokenizer and chat template. The client, or a proxy in front of the server, puts
    the part in front of each system message; see `babelguard.export.openai_messages`.
    """

    name = "prompt-embeds"

    def write(self, base: Base, prompt: SafetyPrompt, folder: Path, screen: Screen, options: Options) -> Exported:
        """Write the payload; see `Exporter.write`."""
        options.check(self.name)
        if prompt.slot.placement == "user":
            raise UserError(
                f"The chat template of {base.name} has no system role, and vLLM inserts vectors into messages; use the exporter "
                "`checkpoint`."
            )
        dtype = base.dtype(options.dtype)
        switch = thinking_switch(chat_template_of(base.tokenizer))
        payload = Payload(
            part=Part(type=PART, data=encoded(prompt.theta, base.scales(dtype).outer, dtype)),
            default_system=prompt.slot.default_system,
            chat_template_kwargs={switch: False} if switch else {},
        )
        write_json(folder / PAYLOAD, payload.model_dump(mode="json"))
        screen.say(f"  {prompt.theta.shape[0]} vectors of width {prompt.theta.shape[1]}")
        facts = {"length": prompt.theta.shape[0], "width": prompt.theta.shape[1]}
        return Exported(SERVE, facts, str(dtype).removeprefix("torch."), notes=NOTES)


def encoded(theta: Tensor, outer: float, dtype: torch.dtype) -> str:
    """Return the vectors as vLLM reads them: a dense tensor, [n, d], written by torch.save, in base64.

    They replace the output of the embedding module. Models that scale embeddings inside it (Gemma) are given scaled vectors;
    a factor that the model applies afterwards (Granite) is divided out.

    Args:
        theta: The soft prompt, [n, d], on the scale of the first decoder block's input.
        outer: The factor that the model applies after the embedding module.
        dtype: Dtype of the model when it is served.
    """
    content = io.BytesIO()
    torch.save((theta.float() / outer).to(dtype).contiguous().clone(), content)
    return base64.b64encode(content.getvalue()).decode()
