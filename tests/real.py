"""A safety prompt for a packaged model without training: the embeddings of a written prompt."""

from __future__ import annotations

from pathlib import Path

from babelguard.defences.written import prompt_text
from babelguard.models.load import load_chat_model
from babelguard.models.probes import embed
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.safety_prompt import template_digest
from babelguard.prompt.slot import install, tokenise

MODEL = "qwen2.5-coder-0.5b"


def save_written(folder: Path, name: str = MODEL) -> Path:
    """Save a soft prompt that stands for the medium written prompt. A run begins its training with such a prompt."""
    chat = load_chat_model(name, device="cpu", dtype="checkpoint")
    text = prompt_text("medium")
    theta = embed(chat.model, tokenise(chat.tokenizer, text))
    _, slot = install(chat.tokenizer, len(theta), chat.model.get_input_embeddings().weight.shape[0], chat.stop_ids)
    SafetyPrompt(
        theta=theta,
        slot=slot,
        base_model=chat.base_id,
        base_revision=chat.revision,
        base_sketch=chat.sketch,
        base_licence=chat.licence,
        name="untrained",
        seed=0,
        template_digest=template_digest(chat.tokenizer),
        training={"languages": ["en"], "steps": 0, "start": text},
    ).save_pretrained(folder)
    return folder
