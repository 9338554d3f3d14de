"""Ask a model at an OpenAI-compatible endpoint, such as vLLM, SGLang, llama.cpp or a hosted one."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from babelguard.errors import UserError
from babelguard.judges.guards.asking import Answer, Form, Request, choose, short

KEY = "OPENAI_API_KEY"
# Parameters that some models reject, and what replaces them.
_REPLACED = {"max_tokens": "max_completion_tokens", "temperature": None, "logprobs": None}
# Words in the errors of content filters, which reject one request and not the key.
_FILTERED = ("content_filter", "content_policy", "moderation", "flagged")
_GARBAGE = "the reply of the endpoint is not a completion"
# The client library has its own HTTP library, whose errors are recognised by name.
_UNREACHABLE = ("ConnectError", "ConnectTimeout", "UnsupportedProtocol", "ProxyError")


class Endpoint:
    """Sends requests in parallel, and returns the answers in order.

    Guards with a fixed prompt use the completions API, because it sends the prompt as it is. All others use chat
    completions.

    Args:
        model: Name of the model at the endpoint.
        base_url: URL of the endpoint up to and including `/v1`.
        form: The form of the requests.
        parallel: Number of parallel requests.
        timeout: Seconds without data before a request is considered lost.
        retries: Number of times that a request is repeated after a temporary failure.

    Raises:
        UserError: If the client library is not installed, or the URL or the key is not valid.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        form: Form,
        *,
        parallel: int = 4,
        timeout: float = 120.0,
        retries: int = 3,
    ) -> None:
        try:
            import openai
        except ImportError:
            raise UserError(
                "Judging with an endpoint needs the library openai, which is not installed; run pip install "
                "'babelguard[guards]'."
            ) from None
        try:
            parts = urlsplit(base_url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise UserError(f"The `judge_url` '{base_url}' is not a URL; use one such as http://127.0.0.1:8000/v1.")
        # Shown on the screen, so without a user name and password that the URL may contain.
        self.host = f"{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._key = os.environ.get(KEY, "").strip()
        if not self._key.isascii() or not self._key.isprintable():
            raise UserError(f"The key in {KEY} contains invalid characters; copy it again.")
        self._model, self._form, self._parallel, self._timeout = model, form, parallel, timeout
        # The client library wants a key, which endpoints without keys ignore.
        self._client = openai.OpenAI(
            api_key=self._key or "none", base_url=base_url, timeout=timeout, max_retries=retries
        )
        self._create: Callable[..., Any] = (
            self._client.completions.create if form.choices else self._client.chat.completions.create
        )
        self._given: dict[str, Any] = {"model": model, "temperature": 0, "max_tokens": form.max_tokens}
        if form.choices:
            self._given["logprobs"] = 5

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """See `Asker.ask`.

        Raises:
            UserError: If the endpoint cannot be reached, does not know the model, or does not accept the key.
        """
        with ThreadPoolExecutor(self._parallel) as pool:
            return list(pool.map(self._ask, requests))  # after an error, requests that wait are not sent

    def _ask(self, request: Request) -> Answer:
        import openai

        try:
            response = self._send(request)
        except openai.APITimeoutError as error:
            if _unreachable(error):
                raise self._lost(error) from None
            return Answer(failure=f"no answer of the endpoint within {self._timeout:g} seconds", temporary=True)
        except openai.APIConnectionError as error:
            if _unreachable(error):
                raise self._lost(error) from None
            why = self._short(f"the connection to the endpoint failed ({error.__cause__ or error})")
            return Answer(failure=why, temporary=True)
        except openai.APIStatusError as error:
            if (problem := self._rejected(error)) is not None:
                raise problem from None
            why = self._short(f"the endpoint returned status {error.status_code}: {error.message}")
            return Answer(failure=why, temporary=error.status_code in (408, 429) or error.status_code >= 500)
        except (openai.OpenAIError, json.JSONDecodeError):
            return Answer(failure=_GARBAGE)
        try:
            return self._read(response)
        except (ValueError, LookupError, TypeError, AttributeError):
            return Answer(failure=_GARBAGE)  # the client library does not check what the endpoint returns

    def _send(self, request: Request) -> Any:
        """Send a request, without the parameters that the model turns out not to support."""
        import openai

        while True:
            given = self._given
            text: dict[str, Any] = {"messages": [one._asdict() for one in request]}
            try:
                return self._create(**given, **({"prompt": request[0].content} if self._form.choices else text))
            except openai.BadRequestError as error:
                name = next((name for name in _REPLACED if name in given and name in error.message), None)
                if name is None or "support" not in error.message:
                    raise
                new = _REPLACED[name]
                changed = {key: value for key, value in given.items() if key != name}
                self._given = changed | ({new: given[name]} if new else {})

    def _read(self, response: Any) -> Answer:
        choice = response.choices[0]
        if choice.finish_reason == "content_filter":
            return Answer(failure="the content filter of the endpoint rejected it")
        finished = choice.finish_reason != "length"
        if not self._form.choices:
            return Answer(_text(choice.message.content), finished)
        listed = getattr(getattr(choice, "logprobs", None), "top_logprobs", None)
        if not listed:
            return Answer(_text(choice.text), finished)
        likely: dict[str, float] = {}
        for token, value in listed[0].items():
            likely[token.strip()] = likely.get(token.strip(), 0.0) + math.exp(min(value, 0.0))
        first, second = self._form.choices
        return choose(likely.get(first, 0.0), likely.get(second, 0.0))

    def _rejected(self, error: Any) -> UserError | None:
        """Return the error for a status that all requests would get, or None for a status of this request only."""
        status, body = error.status_code, str(error.body)
        if status in (401, 403) and not any(word in body for word in _FILTERED):
            if self._key:
                return UserError(f"The endpoint {self.host} does not accept the key (status {status}); check {KEY}.")
            return UserError(f"The endpoint {self.host} requires a key (status {status}); set {KEY}.")
        if status == 404:
            return UserError(
                f"The endpoint {self.host} does not know the model '{self._model}' or the URL (status 404); check "
                "`judge_model` and `judge_url`."
            )
        if status in (402, 429) and "insufficient_quota" in body:
            return UserError(
                f"The account at {self.host} has no credit left (status {status}); top it up and try again."
            )
        return None

    def _lost(self, error: BaseException) -> UserError:
        why = self._short(str(error.__cause__ or error)).rstrip(".")
        return UserError(f"Cannot connect to {self.host} ({why}); start the endpoint or check `judge_url`.")

    def _short(self, text: str) -> str:
        return short(text.replace(self._key, "[key]") if self._key else text)


def _text(content: Any) -> str:
    if content is not None and not isinstance(content, str):
        raise TypeError("not a text")
    return content or ""


def _unreachable(error: BaseException) -> bool:
    return type(error.__cause__).__name__ in _UNREACHABLE
