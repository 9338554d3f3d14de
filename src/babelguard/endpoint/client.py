"""Send requests to an OpenAI-compatible endpoint, and repeat them after temporary failures.

Judges, translation and served models use this client, so that addresses, keys, time-outs, pauses and the sentences about failures
are the same everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from babelguard.endpoint.address import read_address, read_key
from babelguard.endpoint.failures import Failure, Garbage, RequestFailed, failure_of, is_filtered
from babelguard.endpoint.waiting import Retry, Waiting
from babelguard.errors import UserError, short

Read = TypeVar("Read")
# Parameters that some models reject, and what replaces them.
_REPLACED = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None, "logprobs": None}
_REJECTING = ("support", "nrecogni", "nknown", "not permitted")
_SHOWN_MODELS = 10
# Shortest secret, in characters.
_SECRET = 4


class Names(NamedTuple):
    """Names of the settings of an endpoint, for messages.

    Attributes:
        model: Name of the setting that names the model.
        url: Name of the setting that has the URL.
        extra: The extra of babelguard that installs the client library.
        keys: Environment variables that can hold the key.
    """

    model: str
    url: str
    extra: str
    keys: tuple[str, ...] = ("OPENAI_API_KEY",)


class Client:
    """An OpenAI-compatible endpoint. All methods can be called in several threads.

    Args:
        url: URL of the endpoint up to and including `/v1`.
        names: Names for messages.
        retry: When a request is sent again.
        timeout: Seconds without data before a request is considered lost.
        say: Called with a sentence when the endpoint is away, and when it is back.

    Attributes:
        host: Host and port, to be shown.
        dropped: Parameters that the endpoint does not support, and that are no longer sent.

    Raises:
        UserError: If the client library is not installed, or the URL or the key is not valid.
    """

    def __init__(
        self,
        url: str,
        names: Names,
        *,
        retry: Retry | None = None,
        timeout: float = 120.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        try:
            import openai
        except ImportError:
            raise UserError(
                "Using an endpoint needs the library openai, which is not installed; run pip install "
                f"'babelguard[{names.extra}]'."
            ) from None
        address, self._key = read_address(url, names.url), read_key(names.keys)
        self.host, self.dropped = address.host, set[str]()
        # Shorter ones, such as the number of a version, would be found in other words.
        self._secrets = [secret for secret in (self._key, *address.secrets) if len(secret) >= _SECRET]
        self._names, self._timeout, self._reached = names, timeout, False
        self._waiting = Waiting(retry or Retry(), address.host, say)
        if address.query:  # the HTTP library logs the URL of each request
            for library in ("httpx", "httpx2"):
                logging.getLogger(library).setLevel(logging.WARNING)
        self._openai = openai.OpenAI(
            # The client library wants a key. Endpoints without keys ignore it, and a password in the URL replaces it.
            api_key=self._key or "none",
            base_url=address.url,
            default_query=dict(address.query),
            max_retries=0,
            # A redirect would send the requests to a server that nobody named.
            http_client=openai.DefaultHttpxClient(follow_redirects=False, timeout=timeout),
        )

    def close(self) -> None:
        """Stop repeating requests. Pauses end at once."""
        self._waiting.close()

    def chat(self, parameters: Mapping[str, Any], read: Callable[[Any], Read]) -> Read:
        """Send a chat, and return what `read` makes of the response.

        Args:
            parameters: The body of the request.
            read: Reads the response. If it raises a ValueError, LookupError, TypeError or AttributeError, the response is
                not what was asked for, and the request is sent again.

        Raises:
            RequestFailed: If the request gets no usable answer.
            UserError: If no request can succeed, for example because the key is wrong.
        """
        return self._send(self._openai.chat.completions.create, parameters, read)

    def text(self, parameters: Mapping[str, Any], read: Callable[[Any], Read]) -> Read:
        """Send a text to be continued; see `chat`."""
        return self._send(self._openai.completions.create, parameters, read)

    def stream(self, parameters: Mapping[str, Any], read: Callable[[Any], Read]) -> Iterator[Read]:
        """Send a chat, and yield what `read` makes of the parts of the response as they arrive.

        The request is not sent again after the first part. See `chat`.
        """
        parts = self._send(self._openai.chat.completions.create, {**parameters, "stream": True}, iter)
        try:
            for part in parts:
                yield _read(part, read)
        except Exception as error:
            raise self._failed(failure_of(error, self._timeout), 1) from None

    def models(self) -> list[str]:
        """Return the names of the models that the endpoint lists. Empty if it has no such list."""
        try:
            listed = self._openai.with_options(timeout=min(self._timeout, 20.0)).models.list()
            return [str(one.id) for one in listed.data]
        except Exception:  # servers need not have this list, and may return anything
            return []

    def _send(self, create: Callable[..., Any], parameters: Mapping[str, Any], read: Callable[[Any], Read]) -> Read:
        import openai

        sent = counted = 0
        while True:
            self._waiting.before()
            given = self._supported(parameters)
            try:
                found = _read(create(**given), read)
            except Exception as error:
                if isinstance(error, openai.BadRequestError) and self._adapt(error, given):
                    continue
                failure, sent = failure_of(error, self._timeout), sent + 1
                self._reached = self._reached or not failure.unreachable
                problem = self._rejected(error, parameters) if isinstance(error, openai.APIStatusError) else None
                if problem is None and failure.unreachable and not self._reached:
                    problem = UserError(
                        f"Cannot connect to {self.host} ({self._shown(failure.why)}); start the endpoint or check "
                        f"`{self._names.url}`."
                    )
                if problem is not None:
                    raise problem from None
                counted += self._waiting.counts(failure)
                again = failure.retry and counted < self._waiting.retry.tries
                if not again or not self._waiting.after(failure, self._shown(failure.why), sent):
                    raise self._failed(failure, sent) from None
            else:
                self._reached = True
                self._waiting.answered()
                return found

    def _supported(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out or rename the parameters that the endpoint turned out not to support."""
        given = dict(parameters)
        for name in self.dropped & given.keys():
            value, new = given.pop(name), _REPLACED[name]
            given |= {} if new is None else {new: value}
        return given

    def _adapt(self, error: Any, given: Mapping[str, Any]) -> bool:
        """Note the parameter that an error says is not supported. Returns False if it does not name one that was sent."""
        text = f"{error.body} {error.message}"
        name = next((name for name in _REPLACED if name in given and name in text), None)
        if name is None or not any(word in text for word in _REJECTING):
            return False
        self.dropped.add(name)
        return True

    def _rejected(self, error: Any, parameters: Mapping[str, Any]) -> UserError | None:
        """Return the error for a status that all requests would get, or None for a status of this request only."""
        status, names = error.status_code, self._names
        if status in (401, 403) and not is_filtered(error):
            keys = " or ".join(names.keys)
            if self._key:
                return UserError(f"The endpoint {self.host} does not accept the key (status {status}); check {keys}.")
            return UserError(f"The endpoint {self.host} requires a key (status {status}); set {keys}.")
        if status == 404:
            listed = self.models()
            more = f", and {len(listed) - _SHOWN_MODELS} more" if len(listed) > _SHOWN_MODELS else ""
            known = f"it serves {', '.join(listed[:_SHOWN_MODELS])}{more}; " if listed else ""
            return UserError(
                f"The endpoint {self.host} does not know the model '{parameters['model']}' or the URL (status 404); "
                f"{known}check `{names.model}` and `{names.url}`, which usually ends in /v1."
            )
        if status in (402, 429) and "insufficient_quota" in str(error.body):
            return UserError(
                f"The account at {self.host} has no credit left (status {status}); top it up and try again."
            )
        if 300 <= status < 400:
            return UserError(
                f"The endpoint {self.host} redirects to another URL (status {status}); set `{names.url}` to that URL."
            )
        return None

    def _failed(self, failure: Failure, sent: int) -> RequestFailed:
        return RequestFailed(
            self._shown(failure.why),
            status=failure.status,
            temporary=failure.temporary,
            filtered=failure.filtered,
            away=failure.away and not self._waiting.counts(failure),
            tries=sent,
        )

    def _shown(self, text: str) -> str:
        """Shorten a text of the endpoint, without the secrets that it may repeat."""
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return short(text)


def _read(response: Any, read: Callable[[Any], Read]) -> Read:
    try:
        return read(response)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Garbage from error
