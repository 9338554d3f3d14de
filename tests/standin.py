"""A stand-in for an engine with the OpenAI protocol, and servers on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

WORDS = ("One", " two", " three")


class Engine:
    """Records requests and answers in the way that a test asks for.

    Attributes:
        name: The name of its model.
        others: Names of further models.
        mode: `answer`, `silent` (no reply until the client hangs up), `stall` (a stream that waits for `go` after its first
            event), `die` (a stream that ends within an event), or a response.
        bodies: The bodies of the requests.
        headers: Their headers.
        hung_up: Set when the client hangs up.
        go: Lets a stream go on.
    """

    def __init__(self, name="engine-name"):
        self.name, self.mode, self.others = name, "answer", ()
        self.bodies, self.headers = [], []
        self.hung_up, self.go = threading.Event(), threading.Event()
        routes = [Route("/v1/chat/completions", self.chat, methods=["POST"]), Route("/v1/models", self.models)]
        self.app = Starlette(routes=routes)

    async def models(self, request):
        return JSONResponse({"data": [{"id": name} for name in (self.name, *self.others)]})

    async def chat(self, request):
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        if isinstance(self.mode, Response):
            return self.mode
        if self.mode == "silent":
            while not await request.is_disconnected():
                await asyncio.sleep(0.01)
            self.hung_up.set()
        if body.get("stream"):
            return StreamingResponse(self.events(body["model"]), media_type="text/event-stream")
        message = {"role": "assistant", "content": "".join(WORDS)}
        return JSONResponse(
            {"id": "x", "model": body["model"], "choices": [{"index": 0, "message": message}]},
            headers={"Set-Cookie": "who=first", "Server": "secret-engine"},
        )

    async def events(self, model):
        try:
            for number, word in enumerate(WORDS):
                chunk = {"id": "x", "model": model, "choices": [{"index": 0, "delta": {"content": word}}]}
                text = f"data: {json.dumps(chunk)}\n\n"
                if self.mode == "die" and number == 1:
                    yield text[:20]
                    raise RuntimeError("the engine dies")
                yield text
                while self.mode == "stall" and not self.go.is_set():
                    await asyncio.sleep(0.01)
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.hung_up.set()
            raise


@contextmanager
def serving(app):
    """Run an application on loopback, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()
