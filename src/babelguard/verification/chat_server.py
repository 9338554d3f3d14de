"""A server with the chat completions protocol of OpenAI, such as `transformers serve`, SGLang or Ollama."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from babelguard.errors import UserError
from babelguard.verification.http import Http, Rejected
from babelguard.verification.prompts import Chat
from babelguard.verification.served import Answer, Expected

# Likely tokens that are asked for.
LIKELY = 5


class ChatServer:
    """Compares greedy replies, the number of tokens of the chats, and log-probabilities where the server returns them.

    Args:
        http: The server.
        model: Name of the model there.
        switch: The variable of the chat template that turns thinking off, if there is one.
        name: What serves the model, for the table.
    """

    parallel = 4
    # Parameters that only some servers have.
    more: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, http: Http, model: str, switch: str | None, name: str = "server") -> None:
        self.name, self._http, self._model = name, http, model
        self._switches: dict[str, Any] = {"chat_template_kwargs": {switch: False}} if switch else {}
        self._logprobs: dict[str, Any] = {"logprobs": True, "top_logprobs": LIKELY}

    def answer(self, expected: Expected) -> Answer:
        """See `Served.answer`."""
        try:
            return self._answer(expected)
        except Rejected as error:
            return Answer(fault=str(error).split(";")[0])

    def reply(self, question: str, tokens: int) -> tuple[str, bool]:
        """See `Served.reply`."""
        found = self._complete(self._rendered([{"role": "user", "content": question}], None), tokens, {})
        return self._text(found), found["choices"][0].get("finish_reason") != "length"

    def _answer(self, expected: Expected) -> Answer:
        found = self._chat(expected)
        return Answer(prompt_tokens=_prompt_tokens(found), first_texts=_first_texts(found), text=self._text(found))

    def _chat(self, expected: Expected) -> Any:
        """Ask for a chat completion of the length of the path, with log-probabilities if the server has them."""
        asked, tokens = self._asked(expected.chat), len(expected.path)
        try:
            return self._complete(asked, tokens, self._logprobs)
        except Rejected:
            if not self._logprobs:
                raise
            found = self._complete(asked, tokens, {})
            self._logprobs = {}  # without them, the request was accepted
            return found

    def _asked(self, chat: Chat) -> dict[str, Any]:
        return self._rendered(chat.messages, list(chat.tools) if chat.tools else None)

    def _rendered(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> dict[str, Any]:
        """Return the parameters that the rendered chat depends on."""
        return {"messages": messages, **({"tools": tools} if tools else {}), **self._switches}

    def _complete(self, asked: Mapping[str, Any], tokens: int, given: Mapping[str, Any]) -> Any:
        body = {"model": self._model, **asked, "max_tokens": tokens, "temperature": 0, "frequency_penalty": 0}
        if "tools" in asked:
            body["tool_choice"] = "none"  # a reply in the form of a call would not be a text
        found = self._http.post("/v1/chat/completions", {**body, **self.more, **given})
        if found is None:
            raise UserError(f"The server {self._http.host} has no chat completions at this URL; check `url`.")
        try:
            message = found["choices"][0]["message"]
            if not isinstance(message, dict):
                raise TypeError
        except (LookupError, TypeError):
            raise UserError(
                f"The reply of {self._http.host} is not a chat completion; check `url` and the log of the server."
            ) from None
        return found

    @staticmethod
    def _text(found: Any) -> str:
        """Return the text of a reply, with the thought in front of it if the server separates them."""
        message = found["choices"][0]["message"]
        thought = message.get("reasoning_content") or message.get("reasoning") or ""
        return f"{thought}{message.get('content') or ''}"


def _prompt_tokens(found: Any) -> int | None:
    usage = found.get("usage")
    number = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return number if isinstance(number, int) and number > 0 else None


def _first_texts(found: Any) -> dict[str, float]:
    """Return the log-probabilities of likely first tokens, by their texts. Empty if the server returns none."""
    try:
        listed = found["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        texts = [(str(one["token"]), float(one["logprob"])) for one in listed]
    except (LookupError, TypeError, ValueError):
        return {}
    names = [token for token, _ in texts]
    return {token: value for token, value in texts if names.count(token) == 1}
