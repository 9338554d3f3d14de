"""Run the proxy."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from babelguard.errors import UserError
from babelguard.proxy.defended import Defended, read_export
from babelguard.proxy.fields import ChatRequest
from babelguard.proxy.refusal import Refused
from babelguard.proxy.settings import Settings
from babelguard.screen import Screen, Silent

# Seconds that running replies have to end after Ctrl+C.
GRACE = 10


def serve(
    export: Path,
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    served_name: str | None = None,
    upstream_model: str | None = None,
    suppress_placeholders: bool = True,
    refuse: Collection[str] = (),
    screen: Screen | None = None,
) -> None:
    """Serve a defended model until Ctrl+C.

    Args:
        export: The folder of the export that the engine serves.
        settings: How requests are passed on.
        host: The address to listen at.
        port: The port; 0: any free one.
        served_name: The name of the model for clients; default: the one in the export, or the name of its folder.
        upstream_model: The name of the model at the engine; default: the one in the export, or else the only one that the
            engine has.
        suppress_placeholders: Whether the engine is told never to generate the placeholders.
        refuse: Further fields of requests that are refused.
        screen: Shows the address. Nothing is shown by default.

    Raises:
        UserError: If a package is missing, a field in `refuse` is not known or is needed, the folder is not an export, or the
            address cannot be used.
    """
    try:
        import uvicorn

        from babelguard.proxy.app import application
    except ImportError as error:
        raise UserError(
            f"The proxy needs the library {error.name}, which is not installed; run pip install 'babelguard[proxy]'."
        ) from None
    screen = screen or Silent()
    optional = {name for name, field in ChatRequest.model_fields.items() if not field.is_required()}
    if unknown := sorted(set(refuse) - optional):
        listed = ", ".join(sorted(optional))
        raise UserError(f"The field '{unknown[0]}' in `refuse` is not one that can be refused; choose from {listed}.")
    manifest, payload = read_export(export)
    model = Defended(
        name=served_name or manifest.served_name or export.resolve().name,
        upstream_name=upstream_model or manifest.served_name or _only_model(settings),
        tokens=tuple(manifest.tokens),
        token_ids=tuple(manifest.token_ids),
        payload=payload,
        suppress=suppress_placeholders and payload is None,  # with a payload, the engine never gets placeholders
        refused=frozenset(refuse),
    )
    with listen(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        screen.say(f"Serving '{model.name}' at http://{shown}:{listener.getsockname()[1]}/v1; stop with Ctrl+C.")
        screen.say(f"  engine: '{model.upstream_name}' at {settings.upstream}")
        if not settings.client_key and host not in ("127.0.0.1", "::1", "localhost"):
            screen.say("  Clients need no key, although this address may be reachable from other machines.")
        config = uvicorn.Config(
            application(model, settings),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=GRACE,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _only_model(settings: Settings) -> str:
    """Return the name of the only model of the engine.

    Raises:
        UserError: If it has another number of models, or cannot be reached.
    """
    from babelguard.proxy.upstream import Upstream

    async def ask() -> list[str]:
        upstream = Upstream(settings)
        try:
            return await upstream.models(f"Bearer {settings.upstream_key}" if settings.upstream_key else None)
        finally:
            await upstream.close()

    try:
        names = asyncio.run(ask())
    except Refused as error:
        raise UserError(
            f"The engine at {settings.upstream} cannot be asked for the name of its model (it cannot be reached, or does not "
            "list its models); start it first, or give `upstream_model`."
        ) from error
    if len(names) != 1:
        listed = ", ".join(names[:10]) or "none"
        raise UserError(f"The engine serves {len(names)} models ({listed}); choose one with `upstream_model`.")
    return names[0]


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        UserError: If the address cannot be used.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"The proxy cannot listen at {host}:{port} ({why}); choose another `host` or `port`.") from None
    # Connections inherit this. Without it, the end of a reply may wait 40 ms for an acknowledgement of its beginning.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
