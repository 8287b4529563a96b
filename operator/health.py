"""What the kubelet, Prometheus and people ask over HTTP: /healthz, /readyz, /metrics.

Healthy is an operator that a restart would not improve: its loop runs, every informer has heard
from the server within five minutes, and no Workspace has been held by a worker for two. Ready is
one whose caches are full; a replica that does not lead is ready too, it serves admission.
kopf's own probe is not used: it caches for ten seconds and tells no more than this.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from informer import Informer

_SILENT_S = 300.0
_STUCK_S = 120.0


def complaints(informers: Iterable[Informer[Any]], longest_busy_s: float, ended: bool) -> list[str]:
    """Why the operator is not healthy; empty when it is."""
    now = time.monotonic()
    found = [
        f"nothing was heard about {informer.source.kind} for {now - informer.heard_at:.0f} s"
        for informer in informers
        if now - informer.heard_at > _SILENT_S
    ]
    if longest_busy_s > _STUCK_S:
        found.append(f"a worker has been stuck for {longest_busy_s:.0f} s")
    if ended:
        found.append("the loop has ended")
    return found


def not_ready(informers: Iterable[Informer[Any]]) -> list[str]:
    """What has not been listed yet."""
    return [
        f"{informer.source.kind} is being listed"
        for informer in informers
        if not informer.synced.is_set()
    ]


class Front:
    """The HTTP server; `healthy` and `ready` answer complaints, `metrics` a text."""

    def __init__(
        self,
        healthy: Callable[[], list[str]],
        ready: Callable[[], list[str]],
        metrics: Callable[[], bytes],
    ) -> None:
        app = web.Application()
        app.router.add_get("/healthz", _answering(healthy))
        app.router.add_get("/readyz", _answering(ready))
        app.router.add_get("/metrics", _metrics(metrics))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)

    async def open(self, port: int) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, port=port).start()

    async def close(self) -> None:
        await self._runner.cleanup()


def _answering(
    complain: Callable[[], list[str]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        found = complain()
        return web.Response(status=500 if found else 200, text="\n".join(found) or "ok")

    return answer


def _metrics(text: Callable[[], bytes]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    return answer
