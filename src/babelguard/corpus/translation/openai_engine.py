"""Translation with an OpenAI-compatible chat completions endpoint, such as vLLM, llama.cpp, Ollama or a hosted one."""

from __future__ import annotations

import email.utils
import os
import random
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from babelguard.corpus.translation import parsing
from babelguard.corpus.translation.base import EngineFailed, Translation
from babelguard.corpus.translation.checks import looks_refused, status_of
from babelguard.errors import UserError

if TYPE_CHECKING:
    import httpx

KEY = "OPENAI_API_KEY"
DEFAULT_URL = "https://api.openai.com/v1"
# Longest pause in seconds, even if the endpoint asks for more. The number of tries is limited anyway.
_MAX_PAUSE = 120.0
# Number of times a request is made until its reply can be parsed. The temperature is raised after the first time.
_ATTEMPTS = 3
# Error codes of content filters, which reject a request before it reaches the model.
_FILTERED = (
    "content_filter",
    "content_policy",
    "content_management_policy",
    "ResponsibleAIPolicyViolation",
    "data_inspection_failed",
    "flagged_input",
)


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
        UserError: If httpx is not installed, or the URL or the key is invalid.
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
        try:
            import httpx
        except ImportError:
            raise UserError(
                "The engine openai needs the library httpx, which is not installed; run pip install 'babelguard[translate]'."
            ) from None
        try:
            parts, _ = urlsplit(base_url), httpx.URL(base_url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except (ValueError, httpx.InvalidURL):
            good = False
        if not good:
            raise UserError(f"The `base_url` '{base_url}' is not a URL; use one such as http://127.0.0.1:8000/v1.")
        self.model, self.licence = model, licence or f"terms of {model}"
        self.parallel, self.batch = parallel, batch
        # Shown on the screen, so without a user name and password that the URL may contain.
        self.host = f"{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._key = os.environ.get(KEY, "").strip()
        if not self._key.isascii() or not self._key.isprintable():
            raise UserError(f"The key in {KEY} contains invalid characters; copy it again.")
        self._tries, self._pause, self._timeout = tries, pause, timeout
        self._sends_temperature = True
        self._reached = False
        self._closed = threading.Event()
        self._quiet_until = 0.0
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._http: httpx.Client = httpx.Client(
            headers=headers, timeout=httpx.Timeout(timeout, connect=min(timeout, 20.0))
        )

    def check(self, languages: Sequence[str]) -> None:
        """Do nothing: which languages a model supports is not known in advance."""

    def close(self) -> None:
        """Cancel waiting requests and close connections."""
        self._closed.set()
        self._http.close()

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
        import httpx

        why = ""
        for number in range(self._tries):
            self._wait()
            body: dict[str, Any] = {"model": self.model, "messages": messages}
            if self._sends_temperature:
                body["temperature"] = 0.5 if sample else 0.0
            try:
                response = self._http.post(self._url, json=body)
            except httpx.TimeoutException:
                why = f"no reply within {self._timeout:g} seconds, see `timeout` and `batch_size`"
            except httpx.RequestError as error:
                why = self._without_key(f"the connection failed ({error or type(error).__name__})")
                if isinstance(error, httpx.ConnectError) and not self._reached:
                    # The endpoint was never reached, so this is not a temporary failure.
                    raise UserError(
                        f"Cannot connect to {self.host} ({str(error).rstrip('.')}); start the endpoint or check `base_url`."
                    ) from None
            else:
                self._reached = True
                if response.status_code == 200:
                    found = _content(response)
                    if found is not None:
                        return found
                    why = "the reply of the endpoint is not a chat completion"
                elif response.status_code == 429 or response.status_code >= 500:
                    why = self._status(response)
                    pause = _retry_after(response)
                    if pause is not None:
                        # All threads wait, because the rate limit applies to the endpoint as a whole.
                        self._quiet_until = max(self._quiet_until, time.monotonic() + min(pause, _MAX_PAUSE))
                # Check `body`, because another thread may have changed `_sends_temperature` in the meantime.
                elif "temperature" in body and response.status_code == 400 and "temperature" in response.text:
                    self._sends_temperature = False  # some models do not support it
                    continue
                elif response.status_code in (400, 403) and any(word in response.text for word in _FILTERED):
                    return "the content filter of the endpoint rejected it", True
                else:
                    raise self._rejected(response)
            if number + 1 < self._tries:
                pause = min(self._pause * 2**number, _MAX_PAUSE)
                self._closed.wait(pause * random.uniform(0.75, 1.25))
        raise EngineFailed(why or f"all {self._tries} attempts failed", lost=True)

    def _wait(self) -> None:
        left = self._quiet_until - time.monotonic()
        if left > 0:
            self._closed.wait(left)
        if self._closed.is_set():
            raise EngineFailed("stopped")

    def _rejected(self, response: httpx.Response) -> Exception:
        status = response.status_code
        if status in (401, 403) and not self._key:
            return UserError(f"The endpoint {self.host} requires a key (status {status}); set {KEY}.")
        if status in (401, 403):
            return UserError(f"The endpoint {self.host} does not accept the key (status {status}); check {KEY}.")
        if status == 404:
            return UserError(
                f"The endpoint {self.host} does not know the model '{self.model}' or the URL (status 404); "
                "check `engine_model` and `base_url`."
            )
        if 300 <= status < 400:
            return UserError(
                f"The endpoint {self.host} redirects to another URL (status {status}); set `base_url` to that URL."
            )
        return EngineFailed(self._status(response), lost=True)

    def _status(self, response: httpx.Response) -> str:
        text = self._without_key(" ".join(response.text.split()))[:120]
        return f"the endpoint returned status {response.status_code}" + (f": {text}" if text else "")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def _content(response: httpx.Response) -> tuple[str, bool] | None:
    try:
        choice = response.json()["choices"][0]
        message = choice["message"]
        refusal, content = message.get("refusal"), message.get("content")
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if refusal:
        return str(refusal), True
    if choice.get("finish_reason") == "content_filter":
        return str(content or "content filter"), True
    return (content, False) if isinstance(content, str) else ("", False) if content is None else None


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds to wait that the endpoint asks for, as a number or as a date."""
    value = response.headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
