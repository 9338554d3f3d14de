"""Translation with local models: MADLAD-400 (T5) and NLLB-200 (M2M100)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from babelguard.corpus.translation.base import EngineFailed, Translation
from babelguard.corpus.translation.checks import status_of
from babelguard.corpus.translation.codes import FLORES, madlad_prefixes
from babelguard.corpus.translation.parsing import clean_reply
from babelguard.errors import UserError
from babelguard.languages import display_name

_BEAMS = 4
# Output limit in tokens: min(added + factor * source length, maximum). Some scripts need three times as many tokens.
_TOKENS_ADDED, _TOKENS_FACTOR, _TOKENS_MAX = 32, 3, 512
_MADLAD, _NLLB = "MADLAD-400", "NLLB-200"
_LICENCES = {_MADLAD: "Apache-2.0 (MADLAD-400)", _NLLB: "CC-BY-NC-4.0 (NLLB-200)"}
_NOT_COMMERCIAL = (
    "NLLB-200 is licensed under CC-BY-NC-4.0, so its translations may not be used commercially. Every row of prompts.jsonl "
    "states this."
)


class TransformersEngine:
    """A sequence-to-sequence translation model. The weights are loaded with the first request.

    Args:
        model: Model folder or hub id.
        licence: Licence of the translations. Default: that of MADLAD-400 or NLLB-200.
        batch: Texts per batch. It is halved if memory runs out.
        device: auto, cpu, cuda, ...
        dtype: auto, float32, bfloat16 or float16.
        revision: Revision of a hub model.

    Raises:
        UserError: If the model cannot be loaded or is not one of the supported models.
    """

    name = "transformers"
    parallel = 1
    host = ""
    retries_alone = False

    def __init__(
        self,
        model: str,
        *,
        licence: str | None = None,
        batch: int = 8,
        device: str = "auto",
        dtype: str = "auto",
        revision: str | None = None,
    ) -> None:
        from transformers import AutoConfig, AutoTokenizer

        self._source = _source(model)
        self.model = Path(self._source).resolve().name if Path(self._source).is_dir() else self._source
        self.batch, self._revision = batch, revision
        self._device, self._dtype = device, dtype
        try:
            self._config = AutoConfig.from_pretrained(self._source, revision=revision)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(self._source, revision=revision)
        except Exception as error:  # damaged model folders raise many kinds of errors
            raise UserError(_explain(model, self._source, error)) from error
        self._family = self._find_family()
        self.licence = licence or _LICENCES[self._family]
        self.notices: tuple[str, ...] = (_NOT_COMMERCIAL,) if self._family == _NLLB else ()
        self.version = f"beams-{_BEAMS}/{_identity(self._source, self._config)}"
        self._weights: Any = None

    def _find_family(self) -> str:
        kind = self._config.model_type
        if kind == "t5" and self._token(("<2en>",)) is not None:
            return _MADLAD
        if kind in ("m2m_100", "nllb-moe") and self._token(("eng_Latn",)) is not None:
            return _NLLB
        raise UserError(
            f"{self.model} (type '{kind}') is neither a MADLAD-400 nor an NLLB-200 model; choose one such as "
            "google/madlad400-3b-mt."
        )

    def _token(self, names: Sequence[str]) -> str | None:
        """Return the first of these tokens that is in the vocabulary."""
        known = self._tokenizer.get_vocab()
        return next((name for name in names if name in known), None)

    def _language(self, code: str) -> str | None:
        return self._token(madlad_prefixes(code) if self._family == _MADLAD else (FLORES.get(code, ""),))

    def check(self, languages: Sequence[str]) -> None:
        """See `Engine.check`."""
        for code in languages:
            if self._language(code) is None:
                raise UserError(f"{self.model} does not support {display_name(code)}; remove it from `to`.")

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Translation]:
        """See `Engine.translate`."""
        import torch

        if self._weights is None:
            self._weights = self._load()
        token = self._language(target)
        options: dict[str, Any] = {}
        if self._family == _MADLAD:
            lines = [f"{token} {' '.join(text.split())}" for text in texts]
        else:
            lines = [" ".join(text.split()) for text in texts]
            self._tokenizer.src_lang = self._language(source)
            options["forced_bos_token_id"] = self._tokenizer.convert_tokens_to_ids(token)
        inputs = self._tokenizer(lines, return_tensors="pt", padding=True, return_token_type_ids=False)
        tokens = min(_TOKENS_ADDED + _TOKENS_FACTOR * inputs["input_ids"].shape[1], _TOKENS_MAX)
        try:
            with torch.inference_mode():
                outputs = self._weights.generate(
                    **inputs.to(self._weights.device),
                    max_new_tokens=tokens,
                    num_beams=_BEAMS,
                    do_sample=False,
                    **options,
                )
        except torch.OutOfMemoryError:
            self.batch = max(1, len(texts) // 2)
            raise EngineFailed(f"there is not enough memory for a batch of {len(texts)} texts") from None
        return [self._read(text, ids, source, target) for text, ids in zip(texts, outputs, strict=True)]

    def _read(self, source_text: str, ids: Any, source: str, target: str) -> Translation:
        text = clean_reply(self._tokenizer.decode(ids, skip_special_tokens=True))
        status, detail = status_of(source_text, text, source, target)
        # The first id starts the decoding. In NLLB it is the same as the end token.
        if status == "ok" and self._config.eos_token_id not in ids[1:].tolist():
            return Translation(text, "cut", "the output has no end token")
        return Translation(text, status, detail)

    def _load(self) -> Any:
        from transformers import AutoModelForSeq2SeqLM

        from babelguard.models.devices import choose_device, choose_dtype

        place = choose_device(self._device)
        dtype = choose_dtype(self._dtype, place)
        try:
            model = AutoModelForSeq2SeqLM.from_pretrained(
                self._source, config=self._config, dtype=dtype, revision=self._revision
            )
        except Exception as error:
            raise UserError(_explain(self.model, self._source, error)) from error
        # The length of the model's own configuration would conflict with `max_new_tokens`.
        model.generation_config.max_length = None
        return model.requires_grad_(False).eval().to(place)


def _source(name: str) -> str:
    path = Path(name).expanduser()
    if path.is_dir() and not (path / "config.json").exists():
        raise UserError(f"The folder {name} contains no model; give a folder with a config.json.")
    if not path.is_dir() and (path.exists() or name.startswith((".", "/", "~"))):
        raise UserError(f"{name} is not a model folder; give a folder with a config.json, or a hub id.")
    return str(path) if path.is_dir() else name


def _identity(source: str, config: Any) -> str:
    """Identify the model: the commit of a hub model, or a hash of the configuration and the file sizes."""
    if commit := getattr(config, "_commit_hash", None):
        return str(commit)[:12]
    files = sorted((file.name, file.stat().st_size) for file in Path(source).glob("*") if file.is_file())
    content = (Path(source) / "config.json").read_bytes() if files else b""
    return hashlib.sha256(repr(files).encode() + content).hexdigest()[:12]


def _explain(name: str, source: str, error: Exception) -> str:
    from babelguard.models.load import explain

    return explain(name, source, error).replace("causal chat model", "translation model")
