"""Choose the device and the number format."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from typing import Any

import torch

from babelguard import parallel
from babelguard.errors import UserError

# Spreads the layers over all devices of the machine.
MAP = "map"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(wanted: str) -> torch.device:
    """Return the device of this name. `auto` uses an accelerator if there is one, and `map` the first one.

    Each of several processes on a machine uses a GPU of its own.

    Raises:
        UserError: If the device cannot be used.
    """
    if wanted == MAP and parallel.launched() > 1:
        raise UserError(
            "The `device` map spreads a model over the devices of one process, but there are several processes; start one "
            "process, or set `sharding` to fsdp."
        )
    if wanted == MAP and find_spec("accelerate") is None:
        raise UserError("The `device` map needs the package accelerate; install it with pip install accelerate.")
    if wanted in ("auto", MAP):
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted.startswith("cuda") and parallel.launched() > 1:
        wanted = _own_gpu(wanted)
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device).tolist()  # a meta device has no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"The device '{wanted}' cannot be used on this machine; set `device` to auto or cpu."
        ) from error
    return device


def _own_gpu(wanted: str) -> str:
    """Return the name of the GPU of this process."""
    if wanted != "cuda":
        raise UserError(f"The `device` is {wanted}, but each of several processes needs its own; set `device` to auto.")
    count = torch.cuda.device_count()
    if parallel.local_rank() >= count:
        raise UserError(
            f"This machine has {count} GPUs, but the launcher started {parallel.local_world()} processes on it; start one "
            "process per GPU."
        )
    torch.cuda.set_device(parallel.local_rank())
    return f"cuda:{parallel.local_rank()}"


def check_map(model: Any) -> None:
    """Reject a model of which a part did not fit into the devices, so that it would be read again for every token.

    Args:
        model: A model whose layers are spread over the devices.

    Raises:
        UserError: If weights were left on the CPU beside a GPU, or on the disk.
    """
    places = {str(place) for place in getattr(model, "hf_device_map", {}).values()}
    if "disk" in places or ("cpu" in places and len(places) > 1) or any(p.is_meta for p in model.parameters()):
        raise UserError(
            "The model does not fit into the memory of all devices of this machine together; use a machine with more "
            "memory, or several machines with `sharding` fsdp."
        )


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
