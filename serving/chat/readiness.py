"""GET /ready: whether every served model has answered a request. The readiness probe asks it.

A server that listens has loaded its models, which does not mean that each of them answers. So each
is asked for one token, once: an answer is remembered for as long as the process lives. Where
adapters are live, those that the server has first; later ones are asked by serving/live.py before
anybody hears of them. Part of the package that `prepare` copies to where a server finds it:
standard library only.
"""

from __future__ import annotations

import asyncio

from . import asgi
from .asgi import App, Json, Message, Receive, Scope
from .live import Live
from .questions import CHAT, COMPLETIONS, Settings, bounded

_OK = 200
_LIVE = "live adapters"
"""Which ones is not known yet. No model's name has a space."""


class Readiness:
    """What has answered so far."""

    def __init__(self, settings: Settings, live: Live | None = None) -> None:
        self._settings = settings
        self._live = live
        self._answered: set[str] = set()
        self._failed: dict[str, int] = {}
        self._all = False
        self._lock = asyncio.Lock()

    async def answer(self, app: App, scope: Scope) -> tuple[int, Json]:
        """Status and body: 200 once all have answered; else who has not, and with what status."""
        if self._lock.locked():  # the probe before is still asking
            return 503, self._body(self._left())
        async with self._lock:
            for model in (one for one in self._left() if one != _LIVE):
                status = await self._ask(app, scope, model)
                if status == _OK:
                    self._answered.add(model)
                    self._failed.pop(model, None)
                else:
                    self._failed[model] = status
            left = self._left()
            self._all = not left
        return (503 if left else _OK), self._body(left)

    def _left(self) -> list[str]:
        """Who is still to answer; nobody any more once all of them have."""
        if self._all:
            return []
        models = list(self._settings.models)
        if self._live is not None:
            versions = self._live.versions()
            if versions is None or not self._live.is_new():
                return [*models, _LIVE]
            models += versions.names.values() if models else ()
        return [model for model in models if model not in self._answered]

    async def _ask(self, app: App, scope: Scope, model: str) -> int:
        path = CHAT if self._settings.chat_template else COMPLETIONS
        asked = {"messages": [{"role": "user", "content": "Hello"}]}
        body = asked if path == CHAT else {"prompt": "Hello"}
        body = bounded({**body, "model": model, "max_tokens": 1}, path, self._settings)
        to = {**asgi.redirected(scope, path, body), "method": "POST"}
        status, _ = await asgi.ask(app, to, asgi.once(body, _open()))
        return status

    def _body(self, left: list[str]) -> Json:
        return {"waiting": left, "failed": {k: v for k, v in self._failed.items() if k in left}}


def _open() -> Receive:
    """A connection that stays: a probe that gives up must not end the question."""

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    return never
