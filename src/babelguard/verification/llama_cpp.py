"""The server of llama.cpp: token ids of chats, and the next token after given tokens."""

from __future__ import annotations

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
            tops = [top for top, _ in along]
        except (LookupError, TypeError, ValueError, AttributeError):
            raise UserError(
                f"The reply of {self._http.host} is not that of llama.cpp; check `url` and the log of the server."
            ) from None
        return Answer(prompt_ids=tuple(ids), tops=tops, first=along[0][1], text=text)

    def _next(self, ids: list[int]) -> tuple[int, dict[int, float]]:
        """Return the most likely token after token ids, and log-probabilities of likely tokens.

        There are no log-probabilities if the token is the beginning of a character.
        """
        body = {"prompt": ids, "n_predict": 1, "n_probs": LIKELY, "temperature": 0, "return_tokens": True}
        found = self._http.post("/completion", {**body, "cache_prompt": True})
        listed = found.get("completion_probabilities") or []
        top = found["tokens"][0] if found["tokens"] else listed[0]["id"]
        return int(top), {
            int(one["id"]): float(one["logprob"]) for one in (listed[0]["top_logprobs"] if listed else ())
        }
