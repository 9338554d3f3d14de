"""Ask a model with transformers, from a local folder or the hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from babelguard.engine import generate, run_prefix, shared_prefix, split
from babelguard.errors import UserError, short
from babelguard.judges.guards.asking import Answer, Form, Message, Request, choose
from babelguard.models.load import ChatModel, load_chat_model, resolve
from babelguard.models.packaged import PACKAGED

BATCH = 8


class LocalModel:
    """Generates greedy answers in small batches. The model is loaded when it is first asked.

    Args:
        model: Name of a packaged model, a local folder or a hub id.
        device: See `models.devices.choose_device`.
        dtype: See `models.devices.choose_dtype`.
        form: The form of the requests.
        batch_size: Requests that are answered together.

    Raises:
        UserError: If `model` is a path that does not hold a model.
    """

    def __init__(self, model: str, device: str, dtype: str, form: Form, *, batch_size: int = BATCH) -> None:
        self._name, self._device, self._dtype = model, device, dtype
        self._form, self._batch_size = form, batch_size
        self._loaded: ChatModel | None = None
        if model not in PACKAGED:  # these are unpacked when they are loaded
            try:
                resolve(model, lambda _: None)
            except UserError as error:
                raise _explained(error) from error

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """See `Asker.ask`.

        Raises:
            UserError: If the model cannot be loaded.
        """
        if not requests:
            return []
        model = self._load()
        answers: dict[int, Answer] = {}
        chats: dict[int, list[int]] = {}
        for number, request in enumerate(requests):
            try:
                chats[number] = self._token_ids(model, request)
            except Exception as error:  # templates raise errors of many kinds; one request must not stop the others
                answers[number] = Answer(failure=short(f"the request cannot be written for the judge model: {error}"))
        answer = self._choose if self._form.choices else self._generate
        answers |= answer(model, chats)
        return [answers[number] for number in range(len(requests))]

    def _load(self) -> ChatModel:
        if self._loaded is None:
            try:
                self._loaded = load_chat_model(self._name, device=self._device, dtype=self._dtype)
            except UserError as error:
                raise _explained(error) from error
        return self._loaded

    def _token_ids(self, model: ChatModel, request: Request) -> list[int]:
        """Write a request with the chat template of the model, and return its token ids."""
        if self._form.choices:
            found: list[int] = model.tokenizer(request[0].content)["input_ids"]
        else:
            text = self._write(model.tokenizer, request)
            # The template writes the token that begins a text, if the model has one.
            found = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(found) + self._limit(model) > model.context:
            raise ValueError(f"it has {len(found)} tokens, and the model reads {model.context}")
        return found

    def _limit(self, model: ChatModel) -> int:
        return min(self._form.max_tokens, model.context // 4)

    def _write(self, tokenizer: Any, request: Request) -> str:
        """Apply the chat template. Templates for images want a list of parts, and leave out a text."""
        plain = [message._asdict() for message in request]
        parts = [{"role": one.role, "content": [{"type": "text", "text": one.content}]} for one in request]
        for messages in (plain, parts):
            try:
                text = str(
                    tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=self._form.header)
                )
            except Exception:
                if messages is parts:
                    raise
                continue
            if all(_shown(message, text) for message in request):
                return text
        raise ValueError("its chat template leaves out a part")

    def _generate(self, model: ChatModel, chats: dict[int, list[int]]) -> dict[int, Answer]:
        if not chats:
            return {}
        token_ids = list(chats.values())
        with torch.no_grad():  # the tokens that all chats begin with, such as the instruction of the guard
            prefix = run_prefix(model.model, shared_prefix(token_ids))
        replies = generate(
            model.model,
            prefix,
            split(token_ids, prefix.token_ids),
            max_new_tokens=self._limit(model),
            stop_ids=model.stop_ids,
            batch_size=self._batch_size,
        )
        return {
            number: Answer(
                model.tokenizer.decode(reply.token_ids, skip_special_tokens=not self._form.markers), reply.finished
            )
            for number, reply in zip(chats, replies, strict=True)
        }

    @torch.no_grad()
    def _choose(self, model: ChatModel, chats: dict[int, list[int]]) -> dict[int, Answer]:
        """Return the probabilities of the two choices as the first token of the answer."""
        assert self._form.choices is not None
        words = [model.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in self._form.choices]
        order = sorted(chats, key=lambda number: len(chats[number]))
        found: dict[int, Answer] = {}
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            width = max(len(chats[number]) for number in rows)
            # Padded on the left, so that the last token of every row is at the end.
            ids = torch.tensor([[0] * (width - len(chats[number])) + chats[number] for number in rows])
            mask = torch.tensor([[0] * (width - len(chats[number])) + [1] * len(chats[number]) for number in rows])
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            device = model.device
            out = model.model(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                position_ids=positions.to(device),
                logits_to_keep=1,
            )
            chances = out.logits[:, -1].float().softmax(-1)[:, words].tolist()
            found |= {number: choose(*pair) for number, pair in zip(rows, chances, strict=True)}
        return found


def _shown(message: Message, text: str) -> bool:
    return message.content.strip() in text


def _explained(error: UserError) -> UserError:
    return UserError(
        f"The model of the judge cannot be used: {str(error).rstrip('.')} (see `judge_model` and `judge_url`)."
    )
