"""The shared-prefix engine: exact hidden states and replies for chats that begin with the same tokens."""

from babelguard.engine.generation import Reply, generate, generation_batches
from babelguard.engine.prefix import Prefix, run_prefix, shared_prefix, split
from babelguard.engine.states import last_states, share_of_states, states_at_layers

__all__ = [
    "Prefix",
    "Reply",
    "generate",
    "generation_batches",
    "last_states",
    "run_prefix",
    "share_of_states",
    "shared_prefix",
    "split",
    "states_at_layers",
]
