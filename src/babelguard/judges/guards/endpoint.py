"""Ask a model at an OpenAI-compatible endpoint, such as vLLM, SGLang, llama.cpp or a hosted one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from babelguard.endpoint import Client, Names, RequestFailed, Retry
from babelguard.judges.guards.asking import Answer, Form, Request, choose

NAMES = Names("judge_model", "judge_url", "guards")


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
        retry: When a request is sent again.

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
        retry: Retry | None = None,
    ) -> None:
        self._client = Client(base_url, NAMES, retry=retry, timeout=timeout)
        self.host, self._form, self._parallel = self._client.host, form, parallel
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
        try:
            if self._form.choices:
                return self._client.text(self._given | {"prompt": request[0].content}, self._read)
            return self._client.chat(self._given | {"messages": [one._asdict() for one in request]}, self._read)
        except RequestFailed as error:
            return Answer(failure=error.why, temporary=error.temporary)

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


def _text(content: Any) -> str:
    if content is not None and not isinstance(content, str):
        raise TypeError("not a text")
    return content or ""
