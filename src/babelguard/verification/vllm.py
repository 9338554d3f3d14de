"""vLLM: token ids of chats, and log-probabilities along given tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from babelguard.errors import UserError
from babelguard.verification.chat_server import LIKELY, ChatServer
from babelguard.verification.served import Answer, Expected


class Vllm(ChatServer):
    """Asks `/tokenize` for the token ids of a chat, and `/v1/completions` for `prompt_logprobs`."""

    more: ClassVar[Mapping[str, Any]] = {"repetition_penalty": 1.0}  # otherwise that of generation_config.json applies

    def _answer(self, expected: Expected) -> Answer:
        host, asked = self._http.host, self._asked(expected.chat)
        rendered = self._http.post("/tokenize", {"model": self._model, "add_generation_prompt": True, **asked})
        text = self._text(self._complete(asked, len(expected.path), {}))
        try:
            ids = [int(k) for k in rendered["tokens"]]
            body = {"model": self._model, "prompt": [*ids, *expected.path], "max_tokens": 1, "temperature": 0}
            found = self._http.post("/v1/completions", {**body, "prompt_logprobs": LIKELY})
            along = [_ranked(one) for one in found["choices"][0]["prompt_logprobs"][len(ids) :]]
            tops = [min(one, key=lambda k: one[k][0]) for one in along]
        except (LookupError, TypeError, ValueError, AttributeError):
            raise UserError(
                f"The reply of {host} is not that of vLLM; check `url` and the log of the server."
            ) from None
        first = {k: value for k, (_, value) in along[0].items()}
        return Answer(prompt_ids=tuple(ids), tops=tops, first=first, text=text)


def _ranked(listed: dict[str, Any]) -> dict[int, tuple[int, float]]:
    """Return id -> (rank, log-probability) of the tokens at one position."""
    return {int(k): (int(one["rank"]), float(one["logprob"])) for k, one in listed.items()}
