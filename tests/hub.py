"""A local stand-in for the API of the Hugging Face hub: repositories, their visibility, and commits."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

TOKEN = "hf_" + "t" * 34


class Hub:
    """Keeps repositories in memory.

    Attributes:
        repos: By name, whether it is private and its files.
        asked: The method and path of each request.
        broken: Beginnings of paths that are answered with the status 500.
        url: The address.
    """

    def __init__(self):
        self.repos, self.asked, self.broken, self.url = {}, [], (), ""

    def add(self, name, files, *, private=True):
        self.repos[name] = {"private": private, "files": dict(files)}

    def answer(self, method, path, body):
        """Return a status and a JSON value."""
        if path.startswith("/api/repos/create"):
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            if name in self.repos:
                return 409, {"error": "You already created this model repo", "url": f"{self.url}/{name}"}
            self.add(name, {}, private=asked.get("visibility") == "private")
            return 200, {"url": f"{self.url}/{name}"}
        if path == "/api/validate-yaml":
            metadata = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            wrong = [{"message": "base_model is not an id"}] if "/" not in metadata.get("base_model", "a/b") else []
            return (400 if wrong else 200), {"errors": wrong, "warnings": []}
        _, _, rest = path.partition("/api/models/")
        name = "/".join(rest.split("/")[:2])
        if name not in self.repos:
            return 404, {"error": "Repository not found"}
        files = self.repos[name]["files"]
        if "/preupload/" in path:
            given = [one["path"] for one in json.loads(body)["files"]]
            plain = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            return 200, {"files": [{"path": one, **plain} for one in given]}
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del files[line["value"]["path"]]
            return 200, {"commitUrl": f"{self.url}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40, "success": True}
        if "/tree/" in path:
            return 200, [{"type": "file", "path": one, "size": len(files[one]), "oid": "0" * 40} for one in files]
        siblings = [{"rfilename": one} for one in files]
        return 200, {"id": name, "sha": "0" * 40, "private": self.repos[name]["private"], "siblings": siblings}


@contextmanager
def serve():
    """Run a stand-in on a free port."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def respond(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.asked.append((self.command, self.path))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, content = 401, {"error": "Invalid username or password."}
            elif hub.broken and self.path.startswith(hub.broken):
                status, content = 500, {"error": f"The server failed for {self.headers['Authorization']}"}
            else:
                status, content = hub.answer(self.command, self.path, body)
            sent = json.dumps(content).encode()
            self.send_response(status)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = respond

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
