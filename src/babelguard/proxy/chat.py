"""The route for chats: check a request, send it to the engine, and pass on the reply while the client listens."""

from __future__ import annotations

import anyio
import anyio.to_thread
import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from babelguard.proxy.access import authorization, read_body
from babelguard.proxy.defended import Defended
from babelguard.proxy.metrics import Metrics
from babelguard.proxy.refusal import Refused
from babelguard.proxy.replies import Replies
from babelguard.proxy.requests import Forwarded, forwarded
from babelguard.proxy.settings import Settings
from babelguard.proxy.upstream import Upstream

# Headers of the engine that are passed on, beside Content-Type.
PASSED = ("retry-after", "x-request-id")
# Types of content that a browser does not run.
TYPES = ("application/json", "text/plain")
EVENTS = "text/event-stream"
# Larger requests are checked in a thread, so that other streams go on.
LARGE = 2**16


class Chat:
    """The application behind the route.

    Args:
        model: The defended model.
        settings: The settings.
        upstream: The connection to the engine.
        metrics: Where to count.
    """

    def __init__(self, model: Defended, settings: Settings, upstream: Upstream, metrics: Metrics) -> None:
        self._model, self._settings, self._upstream, self._metrics = model, settings, upstream, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        try:
            key = authorization(request, self._settings)
            checked = await self._checked(await read_body(request, self._settings))
        except ClientDisconnect:
            return
        except Refused as refused:
            if refused.status == 403 and refused.field is not None:
                self._metrics.refused(refused.field)
            await refusal(refused)(scope, receive, send)
            return
        self._metrics.broken.inc(checked.broken)
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_at_hang_up, receive, group.cancel_scope)
            await self._answer(checked, key, scope, receive, send)
            group.cancel_scope.cancel()

    async def _checked(self, body: bytes) -> Forwarded:
        if len(body) > LARGE:
            return await anyio.to_thread.run_sync(forwarded, body, self._model)
        return forwarded(body, self._model)

    async def _answer(self, checked: Forwarded, key: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the reply of the engine. A cancelled call cancels the request to the engine."""
        secrets = (self._settings.upstream_key, (key or "").removeprefix("Bearer "))
        replies = Replies(self._model.name, self._model.upstream_name, secrets)
        started = False
        try:
            async with self._upstream.chat(checked.body, key) as response:
                if response.status_code == 200 and _kind(response) == EVENTS:
                    await send(_start_of_stream(response))
                    started = True
                    async for events in replies.stream(response.aiter_bytes()):
                        await send({"type": "http.response.body", "body": events, "more_body": True})
                    await send({"type": "http.response.body", "body": b""})
                    return
                whole = await _whole(response, replies)
            await whole(scope, receive, send)
        except Refused as refused:
            if not started:
                await refusal(refused)(scope, receive, send)
                return
            event = b"data: " + JSONResponse(refused.body()).body + b"\n\n"
            await send({"type": "http.response.body", "body": event})


def refusal(refused: Refused) -> Response:
    """Return the response for a request that is not forwarded."""
    headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else None
    return JSONResponse(refused.body(), refused.status, headers=headers)


async def _cancel_at_hang_up(receive: Receive, running: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    running.cancel()


async def _whole(response: httpx.Response, replies: Replies) -> Response:
    """Return a reply that is not streamed, or the error of the engine."""
    if 300 <= response.status_code < 400:
        raise Refused(502, "The engine answers with a redirection; correct the URL of the engine.")
    body = await response.aread()
    body = replies.error(body) if response.is_error else replies.whole(body)
    kind = _kind(response)
    headers = {name: response.headers[name] for name in PASSED if name in response.headers}
    return Response(body, response.status_code, headers, media_type=kind if kind in TYPES else "text/plain")


def _start_of_stream(response: httpx.Response) -> dict[str, object]:
    headers = {"content-type": f"{EVENTS}; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}
    headers |= {name: response.headers[name] for name in PASSED if name in response.headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": raw}


def _kind(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).split(";")[0].strip().lower()
