"""Any endpoint that speaks OpenAI's chat completions: hosted ones, vLLM, llama.cpp, Ollama."""

from __future__ import annotations

import email.utils
import os
import random
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from babelguard.errors import UserError
from babelguard.translation import reply
from babelguard.translation.checks import looks_refused, status_of
from babelguard.translation.engine import EngineFailed, Translation

if TYPE_CHECKING:
    import httpx

KEY = "OPENAI_API_KEY"
DEFAULT_URL = "https://api.openai.com/v1"
# An endpoint that asks for a longer pause is asked again after this all the same, within the bounded tries.
_LONGEST_PAUSE = 120.0
# Replies that cannot be read are asked for again this often, warmer, before the request counts as failed.
_READINGS = 3
# What an error of a hosted filter says; the model never saw the request.
_FILTERED = (
    "content_filter",
    "content_policy",
    "content_management_policy",
    "ResponsibleAIPolicyViolation",
    "data_inspection_failed",
    "flagged_input",
)


class OpenAIEngine:
    """Sends several rows a request and distrusts the reply.

    Args:
        model: The model's name at the endpoint.
        base_url: Up to and with `/v1`.
        licence: Of the output; default: the terms of the model.
        parallel: Requests at a time.
        batch: Rows a request.
        timeout: Seconds without a byte before a request counts as lost.
        tries: How often a request is sent before it counts as failed.
        pause: Seconds before the second try, doubled for each further one.

    Raises:
        UserError: where httpx is missing or the address is none.
    """

    name = "openai"
    version = reply.PROMPT_VERSION
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
            raise UserError(f"The --base-url '{base_url}' is no address; write it like http://127.0.0.1:8000/v1.")
        self.model, self.licence = model, licence or f"terms of {model}"
        self.parallel, self.batch = parallel, batch
        # Without a name and password that may stand in the address: this is shown.
        self.place = f"{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._key = os.environ.get(KEY, "").strip()
        if not self._key.isascii() or not self._key.isprintable():
            raise UserError(f"The key in {KEY} holds characters that no key has; copy it again.")
        self._tries, self._pause, self._timeout = tries, pause, timeout
        self._warmth = True
        self._reached = False
        self._closed = threading.Event()
        self._quiet_until = 0.0
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._http: httpx.Client = httpx.Client(
            headers=headers, timeout=httpx.Timeout(timeout, connect=min(timeout, 20.0))
        )

    def check(self, languages: Sequence[str]) -> None:
        """Nothing is known before it is asked."""

    def close(self) -> None:
        """Wake whoever waits for a next try, and drop the connections."""
        self._closed.set()
        self._http.close()

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Translation]:
        """See `Engine.translate`. A single text always comes back with a status."""
        said = reply.messages(texts, source, target)
        why, last = "", ""
        for reading in range(_READINGS):
            content, refused = self._ask(said, warm=reading > 0)
            content = reply.without_thoughts(content)
            if not refused:
                try:
                    found = reply.read(content, len(texts))
                except reply.NotARow as error:
                    why, last = str(error), content
                    refused = looks_refused(" ".join(texts), content, source, target)
                else:
                    made = [self._judge(*pair, source, target) for pair in zip(texts, found, strict=True)]
                    if len(made) > 1 or made[0].status in ("ok", "refused") or reading == _READINGS - 1:
                        return made
                    continue
            if refused:
                if len(texts) > 1:
                    raise EngineFailed("the translator refused the rows together")
                return [Translation(reply.clean(content), "refused", f"the translator refused: {content[:80]}")]
        if len(texts) > 1:
            raise EngineFailed(why)
        return [Translation(reply.clean(last), "error", why)]

    @staticmethod
    def _judge(text: str, made: str, source: str, target: str) -> Translation:
        if reply.has_chatter(text, made, target):
            return Translation(made, "error", "an explanation stands around the translation")
        return Translation(made, *status_of(text, made, source, target))

    def _ask(self, said: list[dict[str, str]], warm: bool) -> tuple[str, bool]:
        """Content of the reply, and whether the endpoint itself calls it a refusal."""
        import httpx

        why = ""
        for attempt in range(self._tries):
            self._wait()
            body: dict[str, Any] = {"model": self.model, "messages": said}
            if self._warmth:
                body["temperature"] = 0.5 if warm else 0.0
            try:
                response = self._http.post(self._url, json=body)
            except httpx.TimeoutException:
                why = f"no reply within {self._timeout:g} seconds, see --timeout and --batch-size"
            except httpx.RequestError as error:
                why = self._without_key(f"the connection failed ({error or type(error).__name__})")
                if isinstance(error, httpx.ConnectError) and not self._reached:
                    # Not a gap in a long job: nobody was there from the beginning.
                    raise UserError(
                        f"Nobody answers at {self.place} ({str(error).rstrip('.')}); start the endpoint or check --base-url."
                    ) from None
            else:
                self._reached = True
                if response.status_code == 200:
                    found = _content(response)
                    if found is not None:
                        return found
                    why = "the endpoint's reply is no chat completion"
                elif response.status_code == 429 or response.status_code >= 500:
                    why = self._status(response)
                    asked = _retry_after(response)
                    if asked is not None:
                        # All threads hold still: the limit is the endpoint's, not this request's.
                        self._quiet_until = max(self._quiet_until, time.monotonic() + min(asked, _LONGEST_PAUSE))
                # Looked up in what was sent: another thread may have switched it off in the meantime.
                elif "temperature" in body and response.status_code == 400 and "temperature" in response.text:
                    self._warmth = False  # some models take none
                    continue
                elif response.status_code in (400, 403) and any(word in response.text for word in _FILTERED):
                    return "the endpoint's content filter stopped it", True
                else:
                    raise self._rejected(response)
            if attempt + 1 < self._tries:
                pause = min(self._pause * 2**attempt, _LONGEST_PAUSE)
                self._closed.wait(pause * random.uniform(0.75, 1.25))
        raise EngineFailed(why or f"the endpoint took none of {self._tries} tries", lost=True)

    def _wait(self) -> None:
        left = self._quiet_until - time.monotonic()
        if left > 0:
            self._closed.wait(left)
        if self._closed.is_set():
            raise EngineFailed("stopped")

    def _rejected(self, response: httpx.Response) -> Exception:
        status = response.status_code
        if status in (401, 403) and not self._key:
            return UserError(f"The endpoint {self.place} demands a key (status {status}); set {KEY} to it.")
        if status in (401, 403):
            return UserError(f"The endpoint {self.place} does not accept the key (status {status}); check {KEY}.")
        if status == 404:
            return UserError(
                f"The endpoint {self.place} knows no model '{self.model}' or has no such address (status 404); "
                "check --engine-model and --base-url."
            )
        if 300 <= status < 400:
            return UserError(f"The endpoint {self.place} points elsewhere (status {status}); give that --base-url.")
        return EngineFailed(self._status(response), lost=True)

    def _status(self, response: httpx.Response) -> str:
        said = self._without_key(" ".join(response.text.split()))[:120]
        return f"the endpoint answered with status {response.status_code}" + (f": {said}" if said else "")

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
    """Seconds to wait as the endpoint says, given as a number or as a date."""
    said = response.headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
