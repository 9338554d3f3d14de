"""The contract of an exporter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from babelguard.errors import UserError
from babelguard.models.devices import choose_dtype
from babelguard.models.skeleton import Scales, embedding_scales, skeleton
from babelguard.models.stored import StoredWeights
from babelguard.models.table import StoredTable, find_table
from babelguard.prompt import SafetyPrompt
from babelguard.screen import Screen


@dataclass(frozen=True)
class Base:
    """The base model on disk. Its weights are read tensor by tensor and never loaded as a whole.

    Attributes:
        name: Name given by the user, without the path of a local folder.
        folder: Its folder, with safetensors files. Models of the hub are in the hub's cache.
        config: Its configuration.
        tokenizer: Its tokenizer, with the model's own chat template.
        base_id: Hub id of the base model.
        revision: Revision, if known.
        licence: Licence of the base model, if known.
        trust_remote_code: Whether model code from the hub may run.
    """

    name: str
    folder: Path
    config: Any
    tokenizer: Any
    base_id: str
    revision: str | None = None
    licence: str | None = None
    trust_remote_code: bool = False

    @cached_property
    def weights(self) -> StoredWeights:
        """Its tensors."""
        return StoredWeights(self.folder)

    @cached_property
    def skeleton(self) -> Any:
        """The model without weights; see `babelguard.models.skeleton`."""
        return self._built()

    def _built(self) -> Any:
        return skeleton(self.config, self.name, trust_remote_code=self.trust_remote_code)

    @cached_property
    def table(self) -> StoredTable:
        """Where its embedding table and its output head are."""
        return find_table(self.skeleton, self.weights, self.name)

    @property
    def roles(self) -> set[int]:
        """Ids that the model uses otherwise, such as those that end a reply."""
        given = (getattr(self.config.get_text_config(), f"{name}_token_id", None) for name in ("bos", "eos", "pad"))
        return {i for one in given for i in (one if isinstance(one, list) else [one]) if i is not None}

    def scales(self, dtype: torch.dtype) -> Scales:
        """Return the factors that the model applies to rows of the embedding table; see `embedding_scales`."""
        return embedding_scales(self._built(), dtype)

    def dtype(self, wanted: str) -> torch.dtype:
        """Return the dtype of the embedding table in an export.

        Args:
            wanted: `checkpoint` (as it is stored), or the name of a dtype.

        Raises:
            UserError: If there is no such dtype.
        """
        return choose_dtype(wanted, torch.device("cpu"), self.table.dtype)


class ServeCommand(NamedTuple):
    """A command that serves an export.

    Attributes:
        engine: The name of the engine, such as vLLM.
        version: The first version that can serve it, such as 0.21.0; '' if any can.
        command: The command, with EXPORT for the folder of the export and BASE for the base model.
        tried: Whether it was tried in the tests of babelguard or in docs/serving.md.
    """

    engine: str
    version: str
    command: str
    tried: bool


@dataclass(frozen=True)
class Exported:
    """What an exporter says about its export.

    Attributes:
        serve: Commands that serve it, best first.
        facts: What else belongs into the manifest, such as digests and sizes. Values are JSON.
        dtype: The dtype of the rows of the soft prompt, such as bfloat16.
        served_name: The name under which a server offers the defended model, if it is not free.
        notes: Sentences for the model card, such as security notes.
        library: The library that loads it, as the hub names it; '' if none does.
        relation: What it is of the base model, as the hub names it; '' if the hub has no name for it.
    """

    serve: tuple[ServeCommand, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    served_name: str | None = None
    notes: tuple[str, ...] = ()
    library: str = ""
    relation: str = ""


@dataclass(frozen=True)
class Options:
    """What the user asked for.

    Attributes:
        dtype: `checkpoint` (as the base model is stored), or the name of a dtype.
        given: Options of this exporter alone, such as the quantisation of a GGUF file, by name.
    """

    dtype: str = "checkpoint"
    given: Mapping[str, str] = field(default_factory=dict)

    def check(self, exporter: str, *known: str) -> None:
        """Check that the exporter knows all options that were given.

        Raises:
            UserError: Naming the first one that it does not know.
        """
        for name in self.given:
            if name not in known:
                listed = ", ".join(known) or "none"
                raise UserError(f"The exporter '{exporter}' has no setting '{name}' for `options`; it has: {listed}.")


class Exporter(Protocol):
    """Writes a defended model. Register an implementation under the entry point group `babelguard.exporters`.

    Attributes:
        name: Name of the exporter.
    """

    name: str

    def write(self, base: Base, prompt: SafetyPrompt, folder: Path, screen: Screen, options: Options) -> Exported:
        """Write the export into an empty folder that exists.

        The caller adds the safety prompt, the model card and the manifest, and moves the folder to its final place
        afterwards, so an interrupted export leaves nothing behind. The prompt was checked against the base model.

        Args:
            base: The base model on disk.
            prompt: The safety prompt.
            folder: Where to write.
            screen: Shows progress.
            options: What the user asked for.

        Returns:
            What the manifest and the model card say about the export.

        Raises:
            UserError: If the model cannot be exported in this form, or the files cannot be written.
        """
        ...
