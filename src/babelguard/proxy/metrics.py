"""Counters and latencies in the format of Prometheus."""

from __future__ import annotations

import time

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAME = "babelguard_proxy"
# Upper limits in seconds. Replies take between a fraction of a second and minutes.
BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
# Refused fields that have a series of their own. The names of other fields are up to the client, so they share one.
NAMED_FIELDS = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "chat_template_kwargs",
        "continue_final_message",
        "documents",
        "echo",
        "logit_bias",
        "messages",
        "model",
        "prompt",
        "prompt_embeds",
        "prompt_token_ids",
        "structured_outputs",
    }
)
# The status of a request whose client hung up before the reply began, as nginx writes it.
HUNG_UP = 499


class Metrics:
    """The metrics of one proxy."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = found = CollectorRegistry()
        self.requests = Counter(f"{_NAME}_requests", "Requests by status of the reply.", ["status"], registry=found)
        self.seconds = Histogram(
            f"{_NAME}_request_seconds", "Seconds until the end of the reply to a chat.", buckets=BUCKETS, registry=found
        )
        self.broken = Counter(
            f"{_NAME}_placeholders_broken_up", "Placeholders that were broken up in requests.", registry=found
        )
        self.fields = Counter(
            f"{_NAME}_refused_fields", "Requests that were refused because of a field.", ["field"], registry=found
        )

    def refused(self, field: str) -> None:
        """Count a request that was refused because of a field."""
        first = field.split(".")[0].split("[")[0]
        self.fields.labels(first if first in NAMED_FIELDS else "other").inc()

    def text(self) -> bytes:
        """Return all metrics."""
        return generate_latest(self._registry)


class Measured:
    """ASGI middleware that counts requests by status, and measures how long chats take.

    Args:
        app: The application.
        metrics: Where to count.
        timed: The path whose requests are measured.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, timed: str) -> None:
        self._app, self._metrics, self._timed = app, metrics, timed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = HUNG_UP
        start = time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._metrics.requests.labels(str(status)).inc()
            if scope["path"] == self._timed:
                self._metrics.seconds.observe(time.perf_counter() - start)
