"""The application: the routes of the proxy. All other routes are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from babelguard.proxy.access import authorization
from babelguard.proxy.chat import Chat, refusal
from babelguard.proxy.defended import Defended
from babelguard.proxy.metrics import Measured, Metrics
from babelguard.proxy.refusal import Refused
from babelguard.proxy.settings import Settings
from babelguard.proxy.upstream import Upstream

CHAT = "/v1/chat/completions"
MODELS = "/v1/models"


class Unlisted(HTTPEndpoint):
    """All routes that are not listed, with any method."""

    async def dispatch(self) -> None:
        """Refuse the request."""
        sentence = f"This route is not forwarded; use POST {CHAT} or GET {MODELS}."
        await refusal(Refused(403, sentence))(self.scope, self.receive, self.send)


def application(model: Defended, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> ASGIApp:
    """Build the application.

    Args:
        model: The defended model.
        settings: The settings.
        transport: Replaces the network on the way to the engine, for tests.
    """
    upstream, metrics = Upstream(settings, transport), Metrics()

    async def models(request: Request) -> Response:
        authorization(request, settings)
        one = {"id": model.name, "object": "model", "created": 0, "owned_by": "babelguard"}
        return JSONResponse({"object": "list", "data": [one]})

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        key = f"Bearer {settings.upstream_key}" if settings.upstream_key else None
        # SGLang lists the base model of an adapter that is named BASE:ADAPTER.
        wanted = {model.upstream_name, model.upstream_name.rpartition(":")[0]}
        if wanted.isdisjoint(await upstream.models(key)):
            raise Refused(503, f"The engine does not serve the model '{model.upstream_name}'; check its name.")
        return JSONResponse({"status": "ready"})

    async def shown(request: Request) -> Response:
        authorization(request, settings)
        return Response(metrics.text(), media_type=metrics.content_type)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return refusal(error)

    async def broken(request: Request, error: Exception) -> Response:
        return refusal(Refused(500, "The proxy failed; its log says why."))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await upstream.close()

    routes = [
        Route(CHAT, Chat(model, settings, upstream, metrics), methods=["POST"]),
        Route(MODELS, models),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        *([Route("/metrics", shown)] if settings.metrics else []),
        Route("/{path:path}", Unlisted),
    ]
    inner = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Refused: refused, Exception: broken})
    inner.router.redirect_slashes = False
    return Measured(inner, metrics, CHAT)
