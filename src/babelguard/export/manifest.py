"""The manifest of an export, babelguard.json. It is written last, so a folder that has one is complete."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from babelguard.errors import UserError, damaged
from babelguard.export.base import Base, Exported
from babelguard.files import Record, read_record, write_json
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.storage import WEIGHTS

MANIFEST = "babelguard.json"
FORMAT = 1
TYPE: Final = "babelguard export"
# The folder with the files of the safety prompt itself.
PROMPT = "safety_prompt"
ADVICE = "export the model again"
BLOCK = 1 << 22


class Manifest(Record):
    """The content of babelguard.json.

    Attributes:
        format: Version of this form.
        type: Says that this is an export of babelguard.
        exporter: Name of the exporter.
        babelguard: Version of babelguard.
        base_model: Id of the base model.
        base_revision: Its revision, if known.
        base_licence: Its licence, if known.
        prompt_sha256: SHA-256 of safety_prompt/model.safetensors.
        tokens: The placeholder tokens, in order.
        token_ids: Their ids.
        source: Where the ids come from; see `babelguard.prompt.slot.Slot`.
        template_sha256: SHA-256 of the chat template that inserts the prompt.
        served_name: Name under which a server offers the defended model, if it is not free.
        dtype: Dtype of the rows of the prompt.
        facts: What the exporter says about the export.
        files: SHA-256 of every other file, by its path in the folder.
    """

    format: int = Field(ge=1)
    type: Literal["babelguard export"]
    exporter: str
    babelguard: str
    base_model: str
    base_revision: str | None
    base_licence: str | None
    prompt_sha256: str
    tokens: list[str] = Field(min_length=1)
    token_ids: list[int] = Field(min_length=1)
    source: Literal["reserved", "spare", "appended"]
    template_sha256: str
    served_name: str | None
    dtype: str
    facts: dict[str, Any]
    files: dict[str, str]


def write_manifest(folder: Path, exporter: str, base: Base, prompt: SafetyPrompt, exported: Exported) -> Manifest:
    """Write the manifest of a folder that has all other files.

    Args:
        folder: The folder, with the prompt in safety_prompt/.
        exporter: Name of the exporter.
        base: The base model.
        prompt: The safety prompt.
        exported: What the exporter returned.

    Raises:
        UserError: If the folder cannot be written.
    """
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    template = prompt.carrier(base.tokenizer).chat_template
    default = template["default"] if isinstance(template, dict) else template
    manifest = Manifest(
        format=FORMAT,
        type=TYPE,
        exporter=exporter,
        babelguard=_version(),
        base_model=base.base_id,
        base_revision=base.revision,
        base_licence=prompt.base_licence or base.licence,
        prompt_sha256=files[f"{PROMPT}/{WEIGHTS}"],
        tokens=list(prompt.slot.tokens),
        token_ids=list(prompt.slot.token_ids),
        source=prompt.slot.source,
        template_sha256=hashlib.sha256(default.encode()).hexdigest(),
        served_name=exported.served_name,
        dtype=exported.dtype,
        facts=dict(exported.facts),
        files=files,
    )
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def read_manifest(folder: Path, *, check: bool = True) -> Manifest:
    """Read the manifest of an export.

    Args:
        folder: The export.
        check: Compare the files with their SHA-256.

    Raises:
        UserError: If it is not an export, or a file is missing or was changed.
    """
    manifest = read_record(folder / MANIFEST, Manifest, ADVICE)
    if manifest is None:
        raise UserError(f"{folder} is not an export of babelguard: it has no {MANIFEST}; export the model first.")
    if manifest.format > FORMAT:
        raise UserError(
            f"The export in {folder} was written by a newer version of babelguard (format {manifest.format}); update "
            "babelguard."
        )
    if len(manifest.tokens) != len(manifest.token_ids):
        raise UserError(damaged(folder / MANIFEST, "the number of tokens and ids differ", ADVICE))
    if f"{PROMPT}/{WEIGHTS}" not in manifest.files:
        raise UserError(damaged(folder / MANIFEST, "it does not list the safety prompt", ADVICE))
    if check:
        check_files(folder, manifest)
    return manifest


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare the files of an export with the manifest. Files that it does not list are allowed.

    Raises:
        UserError: If a file is missing or was changed.
    """
    for name, digest in manifest.files.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(damaged(folder / MANIFEST, f"'{name[:100]}' is not in this folder", ADVICE))
        if not path.is_file():
            raise UserError(f"The export in {folder} is not complete: {name} is missing; {ADVICE}.")
        if sha256(path) != digest:
            raise UserError(f"{path} was changed after the export; {ADVICE}.")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        UserError: If it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise UserError(damaged(path, error.strerror or str(error), ADVICE)) from error
    return digest.hexdigest()


def _version() -> str:
    try:
        return version("babelguard")
    except PackageNotFoundError:
        return "unknown"
