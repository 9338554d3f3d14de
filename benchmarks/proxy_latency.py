"""Measure how much time the proxy adds to a request, with an engine on loopback that answers at once.

    python benchmarks/proxy_latency.py
    python benchmarks/proxy_latency.py --requests 200 --words 2000

Direct requests and requests through the proxy take turns. Engine, proxy and client are processes of their own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import statistics
import time
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from babelguard.proxy.app import application
from babelguard.proxy.defended import Defended
from babelguard.proxy.serve import listen
from babelguard.proxy.settings import Settings

CHAT = "/v1/chat/completions"
TOKENS = tuple(f"<|reserved_special_token_{number}|>" for number in range(40))


def engine() -> Any:
    async def chat(request: Request) -> JSONResponse:
        body = await request.json()
        message = {"role": "assistant", "content": "Boil it for eight minutes."}
        return JSONResponse({"id": "1", "model": body["model"], "choices": [{"index": 0, "message": message}]})

    return Starlette(routes=[Route(CHAT, chat, methods=["POST"])])


def proxy(upstream: str) -> Any:
    return application(Defended("defended", "engine", TOKENS, tuple(range(40))), Settings(upstream))


def serve(listener: socket.socket, build: Any, *arguments: str) -> None:
    config = uvicorn.Config(build(*arguments), log_level="critical", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--words", type=int, default=200, help="length of a chat")
    given = parser.parse_args()

    context = multiprocessing.get_context("fork")
    listeners = [listen("127.0.0.1", 0) for _ in range(2)]
    urls = [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    processes = [
        context.Process(target=serve, args=(listeners[0], engine), daemon=True),
        context.Process(target=serve, args=(listeners[1], proxy, urls[0]), daemon=True),
    ]
    for process in processes:
        process.start()
    messages = [{"role": "user", "content": "How do I boil an egg? " * (given.words // 6)}]
    times: dict[str, list[float]] = {"engine": [], "defended": []}
    with httpx.Client(trust_env=False, timeout=30) as client:
        for number in range(given.requests + 20):  # the first ones open connections
            for (name, kept), url in zip(times.items(), urls, strict=True):
                start = time.perf_counter()
                client.post(url + CHAT, json={"model": name, "messages": messages}).raise_for_status()
                if number >= 20:
                    kept.append(1000 * (time.perf_counter() - start))
    for process in processes:
        process.terminate()
    for name, kept in times.items():
        ordered = sorted(kept)
        print(f"{name:9} p50 {statistics.median(kept):6.2f} ms, p99 {ordered[int(0.99 * len(kept))]:6.2f} ms")
    added = statistics.median(times["defended"]) - statistics.median(times["engine"])
    print(f"added at the median: {added:.2f} ms ({given.requests} requests)")


if __name__ == "__main__":
    main()
