"""Save a protected model as a defended model folder, with the rows of theta in its embedding table."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from babelguard.errors import UserError
from babelguard.models.skeleton import embedding_scales
from babelguard.prompt.rows import extended, table_rows, unused_id, written


def save_defended(
    model: Any, theta: Tensor, ids: tuple[int, ...], carrier: Any, folder: str | os.PathLike[str], **given: Any
) -> Any:
    """Stand in for `save_pretrained` of a protected model. It also saves the tokenizer, whose template inserts the prompt.

    The folder is what `babelguard export` with the exporter `checkpoint` writes. The model in memory is not changed.

    Args:
        model: The protected model.
        theta: The soft prompt, [n, d].
        ids: The ids of its placeholders.
        carrier: The protected tokenizer.
        folder: Where to save.
        given: See `save_pretrained` of transformers.

    Raises:
        UserError: If the saved model would not be defended.
    """
    for name in ("state_dict", "push_to_hub"):
        if given.get(name):
            raise UserError(
                f"A protected model cannot be saved with {name}, because its safety prompt would be missing; export it with "
                "'babelguard export'."
            )
    if getattr(model, "_hf_peft_config_loaded", False):
        raise UserError("The protected model has adapters, which are saved without the model; merge them first.")
    with _baked(model, theta, ids, carrier):
        saved = type(model).save_pretrained(model, folder, **given)
    if given.get("is_main_process", True):
        tokenizer = copy.copy(carrier)
        tokenizer.babelguard_protects = False
        tokenizer.save_pretrained(folder)
    return saved


def saved_beside(carrier: Any, folder: Path) -> bool:
    """Whether a folder has the model that a protected tokenizer belongs to, as `save_defended` writes it."""
    try:
        template = (folder / "chat_template.jinja").read_text("utf-8")
    except OSError:
        return False
    own = carrier.chat_template
    return (folder / "config.json").exists() and template == (own["default"] if isinstance(own, dict) else own)


@contextmanager
def _baked(model: Any, theta: Tensor, ids: tuple[int, ...], carrier: Any) -> Iterator[None]:
    """Write theta into a copy of the embedding table, and untie the head, within a `with` block."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    table, output, padding = embedding.weight, head.weight, embedding.padding_idx
    bias, suppressed = getattr(head, "bias", None), model.generation_config.suppress_tokens
    if table.is_meta or output.is_meta or not (table.is_floating_point() and output.is_floating_point()):
        raise UserError(
            "The embeddings of this protected model are quantised or not in memory, so it cannot be saved; export it with "
            "'babelguard export'."
        )
    configs = [model.config, model.config.get_text_config()]
    before = [(config, config.tie_word_embeddings, config.vocab_size) for config in _with_sizes(configs)]
    count = max(table.shape[0], max(ids) + 1)
    unused = unused_id(carrier, table.shape[0], ids)
    enabled, model.babelguard_hook.enabled = model.babelguard_hook.enabled, False
    try:
        rows = table_rows(theta, embedding_scales(model, table.dtype).whole, table.dtype)
        embedding.weight = _fixed(written(table.detach(), ids, rows, unused))
        head.weight = _fixed(extended(output.detach(), count, unused))
        if bias is not None:
            head.bias = _fixed(extended(bias.detach(), count, unused))
        for config, _, _ in before:
            config.tie_word_embeddings, config.vocab_size = False, count
        model.generation_config.suppress_tokens = sorted({*(suppressed or ()), *ids})
        yield
    finally:
        embedding.weight, head.weight, embedding.padding_idx = table, output, padding
        if bias is not None:
            head.bias = bias
        for config, tied, size in before:
            config.tie_word_embeddings, config.vocab_size = tied, size
        model.generation_config.suppress_tokens = suppressed
        model.babelguard_hook.enabled = enabled


def _with_sizes(configs: list[Any]) -> list[Any]:
    """Return the configurations that say how large the vocabulary is, each once."""
    return [
        one for k, one in enumerate(configs) if hasattr(one, "vocab_size") and all(one is not c for c in configs[:k])
    ]


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
