"""A hash that identifies the weights of a model exactly; `sketch.py` compares them with a tolerance."""

from __future__ import annotations

import hashlib
from typing import Any

import torch


def _embeddings_digest(model: Any) -> str:
    """Hash a sample of the input embeddings and the sizes of the model."""
    weight = model.get_input_embeddings().weight
    rows = torch.linspace(0, weight.shape[0] - 1, min(256, weight.shape[0])).long()
    sample = weight.detach()[rows.to(weight.device), : min(64, weight.shape[1])].to("cpu", torch.bfloat16).contiguous()
    digest = hashlib.sha256(f"{tuple(weight.shape)}/{model.config.get_text_config().num_hidden_layers}".encode())
    digest.update(sample.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:16]


def weights_digest(model: Any, sample: int = 64) -> str:
    """Hash a sample of every parameter. Fine-tuning or merging an adapter changes the hash."""
    digest = hashlib.sha256(_embeddings_digest(model).encode())
    for name, parameter in sorted(model.named_parameters()):
        values = parameter.detach().flatten()
        count = min(sample, len(values))
        places = torch.arange(count, device=values.device) * (len(values) - 1) // max(1, count - 1)
        digest.update(name.encode() + values[places].double().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
