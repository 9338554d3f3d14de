"""A local OpenAI-compatible server that fails in the ways a test asks for."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-secret-of-the-test"


def chat(content, finish="stop", *, model=None, fingerprint=None, **message):
    """Return the body of a chat completion. Other fields of the message, such as `reasoning`, can be given by name."""
    said = {"role": "assistant", "content": content} | message
    named = {"model": model, "system_fingerprint": fingerprint}
    return {"choices": [{"index": 0, "message": said, "finish_reason": finish}]} | {
        name: value for name, value in named.items() if value is not None
    }


def stream(*deltas, finish="stop"):
    """Return the body of a streamed chat completion. A delta is a text, or a dict of fields."""
    given = [{"content": one} if isinstance(one, str) else one for one in deltas]
    parts = [{"choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in given]
    parts.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    lines = "".join(f"data: {json.dumps(part)}\n\n" for part in parts)
    return 200, (lines + "data: [DONE]\n\n").encode(), {"Content-Type": "text/event-stream"}


class Server:
    """Records requests. `behave` gets the body and the number of a request, and returns what to send.

    This is a dict or bytes with status 200, `(status, body, headers)`, `hang`, `close` or `half`.

    Attributes:
        models: The names in the list of models. None has no such list.
    """

    def __init__(self):
        self.bodies, self.headers, self.paths = [], [], []
        self.behave = lambda body, number: chat("Yes.")
        self.models = None
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.url = ""

    def answer(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            self.paths.append(handler.path)
        said = self.behave(body, number)
        if said == "hang":
            self.stop.wait(5)
            return
        half, said = said == "half", chat("Yes.") if said == "half" else said
        if said == "close":
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send(handler, said, half)

    def list_models(self, handler):
        if self.models is None:
            handler.send_error(404)
        else:
            self.send(handler, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    def send(self, handler, said, half=False):
        status, content, headers = said if isinstance(said, tuple) else (200, said, {})
        kind = "text/html" if isinstance(content, bytes) and content.startswith(b"<") else "application/json"
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        for name, value in ({"Content-Type": kind, "Content-Length": str(len(data))} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2] if half else data)
        handler.close_connection = half


@contextmanager
def serve(server=None, port=0):
    """Run a server. A server that has stopped can be started again on the same port."""
    running = server or Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            running.list_models(self)

        def do_POST(self):
            running.answer(self)

        def log_message(self, *_):
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            pass

    http = Quiet(("127.0.0.1", port), Handler)
    running.port = http.server_port
    running.url = f"http://127.0.0.1:{running.port}/v1"
    threading.Thread(target=http.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
    try:
        yield running
    finally:
        running.stop.set()
        http.shutdown()
        http.server_close()
