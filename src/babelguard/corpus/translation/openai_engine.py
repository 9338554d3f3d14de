"""Translation with an OpenAI-compatible chat completions endpoint, such as vLLM, llama.cpp, Ollama or a hosted one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from babelguard.corpus.translation import parsing
from babelguard.corpus.translation.base import EngineFailed, Translation
from babelguard.corpus.translation.checks import looks_refused, status_of
from babelguard.endpoint import Client, Names, RequestFailed, Retry

NAMES = Names("engine_model", "base_url", "translate")
DEFAULT_URL = "https://api.openai.com/v1"
# Number of times a request is made until its reply can be parsed. The temperature is raised after the first time.
_ATTEMPTS = 3


class OpenAIEngine:
    """Sends several texts per request, and validates the reply.

    Args:
        model: Name of the model at the endpoint.
        base_url: URL of the endpoint up to and including `/v1`.
        licence: Licence of the translations. Default: the terms of the model.
        parallel: Number of parallel requests.
        batch: Texts per request.
        timeout: Seconds without data before a request is considered lost.
        tries: Maximum number of times a request is sent.
        pause: Seconds before the first retry. The pause doubles with every retry.

    Raises:
        UserError: If the client library is not installed, or the URL or the key is invalid.
    """

    name = "openai"
    version = parsing.PROMPT_VERSION
    notices: tuple[str, ...] = ()
    retries_alone = True

    def __init__(
        self,
        model: str,
        *,
        base_url: str = DEFAULT_URL,
        licence: str | None = None,
        parallel: int = 4,
        batch: int = 8,
        timeout: float = 120.0,
        tries: int = 6,
        pause: float = 1.0,
    ) -> None:
        self.model, self.licence = model, licence or f"terms of {model}"
        self.parallel, self.batch = parallel, batch
        self._client = Client(base_url, NAMES, retry=Retry(tries, pause), timeout=timeout)
        self.host = self._client.host

    def check(self, languages: Sequence[str]) -> None:
        """Do nothing: which languages a model supports is not known in advance."""

    def close(self) -> None:
        """Cancel waiting requests."""
        self._client.close()

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Translation]:
        """See `Engine.translate`. A request with a single text always returns a status."""
        messages = parsing.messages(texts, source, target)
        why, last = "", ""
        for attempt in range(_ATTEMPTS):
            content, refused = self._send(messages, sample=attempt > 0)
            content = parsing.strip_reasoning(content)
            if not refused:
                try:
                    found = parsing.parse_reply(content, len(texts))
                except parsing.UnreadableReply as error:
                    why, last = str(error), content
                    refused = looks_refused(" ".join(texts), content, source, target)
                else:
                    results = [self._check(*pair, source, target) for pair in zip(texts, found, strict=True)]
                    if len(results) > 1 or results[0].status in ("ok", "refused") or attempt == _ATTEMPTS - 1:
                        return results
                    continue
            if refused:
                if len(texts) > 1:
                    raise EngineFailed("the model refused the batch")
                return [Translation(parsing.clean_reply(content), "refused", f"the model refused: {content[:80]}")]
        if len(texts) > 1:
            raise EngineFailed(why)
        return [Translation(parsing.clean_reply(last), "error", why)]

    @staticmethod
    def _check(text: str, translation: str, source: str, target: str) -> Translation:
        if parsing.has_chatter(text, translation, target):
            return Translation(translation, "error", "the reply contains an explanation")
        return Translation(translation, *status_of(text, translation, source, target))

    def _send(self, messages: list[dict[str, str]], sample: bool) -> tuple[str, bool]:
        """Return the content of the reply, and whether the endpoint marked it as a refusal."""
        body = {"model": self.model, "messages": messages, "temperature": 0.5 if sample else 0.0}
        try:
            return self._client.chat(body, _content)
        except RequestFailed as error:
            if error.filtered:
                return "the content filter of the endpoint rejected it", True
            raise EngineFailed(error.why, lost=True) from None


def _content(response: Any) -> tuple[str, bool]:
    choice = response.choices[0]
    message = choice.message
    if refusal := getattr(message, "refusal", None):
        return str(refusal), True
    if choice.finish_reason == "content_filter":
        return str(message.content or "content filter"), True
    if not isinstance(message.content, str | None):
        raise TypeError("not a text")
    return message.content or "", False
