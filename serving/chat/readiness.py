"""GET /ready: whether every served model has answered a request. The readiness probe asks it.

A server that listens has loaded its models, which does not mean that each of them answers. So each
is asked for one token, once: an answer is remembered for as long as the process lives. Part of the
package that `prepare` copies to where a server finds it: standard library only.
"""

from __future__ import annotations

import asyncio

from . import asgi
from .asgi import App, Json, Message, Receive, Scope
from .questions import CHAT, COMPLETIONS, Settings, bounded

_OK = 200


class Readiness:
    """What has answered so far."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._left = list(settings.models)
        self._failed: dict[str, int] = {}
        self._lock = asyncio.Lock()

    async def answer(self, app: App, scope: Scope) -> tuple[int, Json]:
        """Status and body: 200 once all have answered; else who has not, and with what status."""
        if self._lock.locked():  # the probe before is still asking
            return 503, self._body()
        async with self._lock:
            for model in list(self._left):
                status = await self._ask(app, scope, model)
                if status == _OK:
                    self._left.remove(model)
                    self._failed.pop(model, None)
                else:
                    self._failed[model] = status
        return (503 if self._left else _OK), self._body()

    async def _ask(self, app: App, scope: Scope, model: str) -> int:
        path = CHAT if self._settings.chat_template else COMPLETIONS
        asked = {"messages": [{"role": "user", "content": "Hello"}]}
        body = asked if path == CHAT else {"prompt": "Hello"}
        body = bounded({**body, "model": model, "max_tokens": 1}, path, self._settings)
        to = {**asgi.redirected(scope, path, body), "method": "POST"}
        status, _ = await asgi.ask(app, to, asgi.once(body, _open()))
        return status

    def _body(self) -> Json:
        return {"waiting": list(self._left), "failed": dict(self._failed)}


def _open() -> Receive:
    """A connection that stays: a probe that gives up must not end the question."""

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    return never
