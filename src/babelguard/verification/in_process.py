"""An export that is loaded into this process: a model folder by transformers, an adapter by PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from babelguard.errors import UserError, out_of_memory
from babelguard.models.load import explain
from babelguard.models.quiet import quiet
from babelguard.verification.forced import run_along, without
from babelguard.verification.reserved import ADAPTER
from babelguard.verification.served import Answer, Expected

TRANSFORMERS, PEFT = "transformers", "PEFT"
LIKELY = 5


class InProcess:
    """A model of transformers with its own tokenizer. Nothing of babelguard is used.

    Args:
        name: Name of the library, for the table.
        model: The model.
        tokenizer: The tokenizer of the export.
    """

    parallel = 1

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name = name
        self._model, self._tokenizer = model.requires_grad_(False).eval(), tokenizer

    def answer(self, expected: Expected) -> Answer:
        """See `Served.answer`."""
        chat = expected.chat
        try:
            ids = self._render(chat.messages, **chat.settings)
        except Exception as error:  # a template is a program and can raise any error
            return Answer(fault=f"the chat template fails ({' '.join(str(error).split())[:200].rstrip('.')})")
        try:
            logits = run_along(self._model, ids, expected.path).logits
            text, _ = self._generate(ids, len(expected.path))
        except (IndexError, RuntimeError, ValueError) as error:
            if out_of_memory(error):
                raise
            return Answer(tuple(ids), fault=f"the model fails ({' '.join(str(error).split())[:200].rstrip('.')})")
        likely = logits[0].log_softmax(-1).topk(min(LIKELY, logits.shape[-1]))
        return Answer(
            prompt_ids=tuple(ids),
            tops=without(logits, self._model.generation_config.suppress_tokens or []).argmax(-1).tolist(),
            first=dict(zip(likely.indices.tolist(), likely.values.tolist(), strict=True)),
            text=text,
        )

    def reply(self, question: str, tokens: int) -> tuple[str, bool]:
        """See `Served.reply`."""
        ids = self._render([{"role": "user", "content": question}])
        return self._generate(ids, tokens)

    def _render(self, messages: list[dict[str, Any]], **settings: Any) -> list[int]:
        ids = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False, **settings
        )
        return [int(k) for k in ids]

    @torch.no_grad()
    def _generate(self, ids: Sequence[int], tokens: int) -> tuple[str, bool]:
        given = torch.tensor([ids], device=self._model.get_input_embeddings().weight.device)
        settings = {"max_new_tokens": tokens, "do_sample": False, "repetition_penalty": 1.0}
        with quiet():  # sampling parameters of the export have no effect here
            out = self._model.generate(given, attention_mask=torch.ones_like(given), **settings)
        reply = out[0, len(ids) :]
        return str(self._tokenizer.decode(reply, skip_special_tokens=True)), len(reply) < tokens


def library_of(export: Path) -> str:
    """Return the name of the library that loads an export into this process.

    Raises:
        UserError: If it is only served by other software.
    """
    if (export / ADAPTER).is_file():
        return PEFT
    if (export / "config.json").is_file():
        return TRANSFORMERS
    raise UserError(
        f"The export in {export} is served by other software; start a server as its README.md says, and give its `url`."
    )


def load_in_process(export: Path, base: str, dtype: torch.dtype, device: str, trust_remote_code: bool) -> InProcess:
    """Load an export that transformers or PEFT can load.

    Args:
        export: The export.
        base: Folder or hub id of the base model, for an adapter.
        dtype: Number format of the weights.
        device: Name of the device.
        trust_remote_code: Allow model code from the hub to run.

    Raises:
        UserError: If it cannot be loaded.
    """
    library = library_of(export)
    given: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code}
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(export, trust_remote_code=trust_remote_code)
            if library == TRANSFORMERS:
                model: Any = AutoModelForCausalLM.from_pretrained(export, **given)
                return InProcess(library, model.to(device), tokenizer)
            try:
                from peft import PeftModel
            except ImportError:
                raise UserError(
                    "Verifying an adapter needs the library peft, which is not installed; run pip install peft, or start a "
                    "server and give its `url`."
                ) from None
            model = AutoModelForCausalLM.from_pretrained(base, **given)
            return InProcess(library, PeftModel.from_pretrained(model, export).to(device), tokenizer)
    except UserError:
        raise
    except Exception as error:  # damaged model folders raise many kinds of errors
        raise UserError(explain(str(export), str(export), error)) from error
