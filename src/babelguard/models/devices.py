"""Choose the device and the number format."""

from __future__ import annotations

import platform

import torch

from babelguard.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(wanted: str) -> torch.device:
    """Return the device of this name. `auto` uses an accelerator if there is one.

    Raises:
        UserError: If the device cannot be used.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device).tolist()  # a meta device has no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"The device '{wanted}' cannot be used on this machine; set `device` to auto or cpu."
        ) from error
    return device


def choose_dtype(wanted: str, device: torch.device, stored: torch.dtype | None = None) -> torch.dtype:
    """Return the dtype of this name. `auto` uses bfloat16 if the hardware supports it natively, otherwise float32.

    Args:
        wanted: `auto`, `checkpoint` (the dtype in which the weights are stored), or the name of a dtype.
        device: The device of the model.
        stored: The dtype in which the weights are stored, if known.

    Raises:
        UserError: If the name is not known.
    """
    if wanted == "checkpoint":
        return stored or torch.float32
    if wanted != "auto":
        if wanted not in DTYPES:
            raise UserError(f"The dtype '{wanted}' is not known; choose auto or one of {', '.join(DTYPES)}.")
        return DTYPES[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and platform.machine() in ("x86_64", "AMD64"):
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        return torch.bfloat16 if native() else torch.float32
    return torch.float32
