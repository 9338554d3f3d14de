"""What the base model does with the safety prompt in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from babelguard.engine import generate, run_prefix, shared_prefix, split
from babelguard.models.load import ChatModel
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.hook import soft_prompt
from babelguard.prompt.slot import render, tokenise
from babelguard.screen import Tick
from babelguard.verification.forced import run_along, without
from babelguard.verification.prompts import Chat
from babelguard.verification.reserved import Head, read_head
from babelguard.verification.served import Expected

# Likely first tokens whose texts are known to servers that do not tell ids.
LIKELY = 20
# Likely tokens at each position of a reply that a served model may choose instead.
OTHERS = 5


@torch.no_grad()
def make_reference(
    chat: ChatModel,
    prompt: SafetyPrompt,
    export: Path,
    chats: Sequence[Chat],
    tokens: int,
    tick: Tick | None = None,
) -> list[Expected]:
    """Answer chats with the base model and the safety prompt.

    Args:
        chat: The base model.
        prompt: The safety prompt.
        export: The export, whose output rows of the placeholder tokens are read.
        chats: The chats.
        tokens: Maximum length of a reply.
        tick: Called with (done, total).

    Raises:
        UserError: If a chat cannot be rendered, or the files of the export cannot be read.
    """
    model, carrier, soft = chat.model, prompt.carrier(chat.tokenizer), prompt.slot.token_ids
    banned = [*(model.generation_config.suppress_tokens or []), *soft]
    head, head_ids = read_head(export, model, soft)
    rendered = [tokenise(carrier, render(carrier, one.messages, **one.settings)) for one in chats]
    found: list[Expected] = []
    with soft_prompt(model, prompt.theta.to(chat.device), soft):
        prefix_ids = shared_prefix(rendered)
        replies = generate(
            model,
            run_prefix(model, prefix_ids),
            split(rendered, prefix_ids),
            max_new_tokens=tokens,
            stop_ids=chat.stop_ids,
            banned_ids=banned,
        )
        for one, ids, reply in zip(chats, rendered, replies, strict=True):
            path = list(reply.token_ids)
            if reply.finished and len(path) < tokens:
                path.append(_end(model, ids, path, chat.stop_ids))
            forced = run_along(model, ids, path)
            logprobs = without(forced.logits, banned).log_softmax(-1)
            likely = logprobs.topk(2)
            # The placeholder tokens have other output rows in the export, and are checked apart.
            first = without(forced.logits[0], soft).log_softmax(-1)
            found.append(
                Expected(
                    chat=one,
                    prompt_ids=tuple(ids),
                    path=tuple(path),
                    texts=tuple(carrier.decode(path[:k], skip_special_tokens=True) for k in range(len(path) + 1)),
                    tops=tuple(likely.indices[:, 0].tolist()),
                    margins=tuple((likely.values[:, 0] - likely.values[:, 1]).tolist()),
                    others=_others(carrier, logprobs, path),
                    first=first,
                    first_texts=_first_texts(carrier, first),
                    reserved=_reserved(head, head_ids, forced.states, forced.logits),
                )
            )
            if tick is not None:
                tick(len(found), len(chats))
    return found


def _end(model: Any, ids: Sequence[int], path: Sequence[int], stop_ids: Sequence[int]) -> int:
    """Return the end token that the model chose after a reply."""
    logits = run_along(model, ids, [*path, stop_ids[0]]).logits[-1]
    return max(stop_ids, key=lambda k: float(logits[k]))


def _others(tokenizer: Any, logprobs: Tensor, path: Sequence[int]) -> tuple[tuple[tuple[float, str], ...], ...]:
    """Return the likely tokens besides those of the path; see `Expected.others`."""
    likely = logprobs.topk(min(OTHERS, logprobs.shape[-1]))
    gaps = (likely.values[:, :1] - likely.values).tolist()
    return tuple(
        tuple(
            (gap, tokenizer.decode([*path[:k], token], skip_special_tokens=True))
            for gap, token in zip(gaps[k], ids, strict=True)
            if token != path[k]
        )
        for k, ids in enumerate(likely.indices.tolist())
    )


def _first_texts(tokenizer: Any, logprobs: Tensor) -> dict[str, float]:
    """Return the log-probabilities of the most likely tokens by their texts. Texts of several tokens are left out."""
    values, ids = logprobs.topk(min(LIKELY, len(logprobs)))
    texts = [str(tokenizer.decode([k])) for k in ids.tolist()]
    return {text: value for text, value in zip(texts, values.tolist(), strict=True) if texts.count(text) == 1}


def _reserved(head: Head | None, ids: Sequence[int], states: Tensor, logits: Tensor) -> float:
    return 0.0 if head is None else float(head.probability(states, logits, ids).max())
