"""Find out what serves a model at a URL."""

from __future__ import annotations

from typing import Any

from babelguard.errors import UserError
from babelguard.verification.chat_server import ChatServer
from babelguard.verification.http import Http
from babelguard.verification.llama_cpp import LlamaCpp
from babelguard.verification.vllm import Vllm

# The owner of a model according to its server -> the class, its name, and a route that a proxy may not forward.
ENGINES: dict[str, tuple[type[ChatServer], str, str]] = {
    "vllm": (Vllm, "vLLM", "/tokenize"),
    "llamacpp": (LlamaCpp, "llama.cpp", "/tokenize"),
}


def connect(http: Http, served: str | None, likely: tuple[str, ...], switch: str | None) -> ChatServer:
    """Connect to a server.

    Args:
        http: The server.
        served: Name of the model there, if it is known.
        likely: Names that the model may have there, the best first.
        switch: See `ChatServer`.

    Raises:
        UserError: If the server cannot be reached, or does not serve such a model.
    """
    models = _models(http)
    name = choose([one["id"] for one in models], served, likely, http.host)
    owner = next((str(one.get("owned_by", "")) for one in models if one["id"] == name), "")
    kind, title, route = ENGINES.get(owner, (ChatServer, "server", ""))
    if route and http.post(route, {"model": name, "prompt": "a", "content": "a"}) is None:
        kind, title = ChatServer, f"{title} behind a proxy"
    return kind(http, name, switch, title)


def choose(listed: list[str], served: str | None, likely: tuple[str, ...], host: str) -> str:
    """Choose the name of the model among those that a server lists.

    Args:
        listed: Names of the models. If there are none, the name is not checked.
        served: See `connect`.
        likely: See `connect`.
        host: Name of the server in messages.

    Raises:
        UserError: If the model is not among them, or it is not clear which it is.
    """
    shown = ", ".join(listed[:5])
    if served is not None:
        if listed and served not in listed:
            raise UserError(f"The server {host} does not serve the model '{served}', but {shown}; check `served`.")
        return served
    # A path says no more than its last part.
    by_name = {one.rstrip("/").split("/")[-1]: one for one in reversed(listed)} | {one: one for one in listed}
    if found := next((by_name[name] for name in likely if name in by_name), None):
        return found
    if len(listed) > 1:
        raise UserError(f"The server {host} serves several models ({shown}); say with `served` which one to verify.")
    return listed[0] if listed else likely[0]


def _models(http: Http) -> list[dict[str, Any]]:
    found = http.get("/v1/models")
    listed = found.get("data") if isinstance(found, dict) else None
    return [one for one in listed or [] if isinstance(one, dict) and isinstance(one.get("id"), str)]
