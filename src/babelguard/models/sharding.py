"""Shard the decoder blocks of a model over the processes of a run (FSDP2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch

from babelguard import parallel
from babelguard.models.probes import backbone, blocks

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_SHARDED: WeakSet[Any] = WeakSet()


def make_mesh(device: torch.device) -> DeviceMesh:
    """Return the mesh of all processes. Every process must call it."""
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(device.type, (parallel.world(),))


def shard(model: Any, mesh: DeviceMesh, device: torch.device) -> None:
    """Leave this process its shard of every decoder block, on the device.

    The embeddings, the final norm and the head stay whole in every process: they are a few percent of a large model, and the
    soft prompt and the losses read them outside of a forward pass. The outermost call on the decoder lets the blocks share
    their streams, so that the weights of the next block are gathered during the computation of the present one.

    Args:
        model: A frozen causal language model on the CPU.
        mesh: From `make_mesh`.
        device: The device of this process.
    """
    from torch.distributed.fsdp import fully_shard

    layers = blocks(model)
    whole = set(backbone(model).parameters()) - {weight for layer in layers for weight in layer.parameters()}
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(backbone(model), mesh=mesh, ignored_params=whole)
    model.to(device)
    _SHARDED.add(model)


def is_sharded(model: Any) -> bool:
    """Whether the processes hold shards of the model, so that all of them must run it together."""
    return model in _SHARDED
