"""The server of llama.cpp: token ids of chats, and the next token after given tokens."""

from __future__ import annotations

from typing import Any

from babelguard.errors import UserError
from babelguard.verification.chat_server import LIKELY, ChatServer
from babelguard.verification.served import Answer, Expected


class LlamaCpp(ChatServer):
    """Asks `/apply-template` and `/tokenize` for the token ids of a chat, and `/completion` for one token at a time."""

    def _answer(self, expected: Expected) -> Answer:
        asked = self._asked(expected.chat)
        text = self._text(self._complete(asked, len(expected.path), {}))
        try:
            rendered = self._http.post("/apply-template", asked)["prompt"]
            # As the server does with a rendered chat.
            options = {"content": rendered, "add_special": True, "parse_special": True}
            ids = [int(k) for k in self._http.post("/tokenize", options)["tokens"]]
            along = [self._next([*ids, *expected.path[:k]]) for k in range(len(expected.path))]
            tops = [int(one["id"]) for one in along]
            first = {int(one["id"]): float(one["logprob"]) for one in along[0]["top_logprobs"]}
        except (LookupError, TypeError, ValueError, AttributeError):
            raise UserError(
                f"The reply of {self._http.host} is not that of llama.cpp; check `url` and the log of the server."
            ) from None
        return Answer(prompt_ids=tuple(ids), tops=tops, first=first, text=text)

    def _next(self, ids: list[int]) -> Any:
        """Return the most likely token after token ids, with log-probabilities."""
        body = {"prompt": ids, "n_predict": 1, "n_probs": LIKELY, "temperature": 0, "cache_prompt": True}
        return self._http.post("/completion", body)["completion_probabilities"][0]
