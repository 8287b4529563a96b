"""POST /chat for servers that speak OpenAI's API, and a bar before their unguarded routes.

One pure-ASGI class that works in vLLM (`--middleware tunery_chat.Chat`) and around the app of
`transformers serve`. `prepare` copies this package to where the server finds it, whatever image the
server comes from, so it imports nothing but the standard library. What it does:

- `POST /chat {"prompt": …}` → `{"Result": …}` and `GET /`, as KAITO's quick starts ask for them.
- Routes that load, unload or reset models answer from inside the pod only (127.0.0.1): vLLM and
  transformers serve leave them open. Unknown routes are taken for such.
- With `max_tokens` no answer is longer: transformers serve goes on past the model's length.
- `GET /ready` once every model has answered a request (readiness.py).
- With `aliases` the one model of transformers serve answers to all of its names.
- With `live` adapters their names mean the versions that the server has now (live.py), and
  GET /adapters says which those are.

Its settings are a JSON file named by the variable TUNERY_CHAT (questions.py says what is in it).
"""

from __future__ import annotations

import json
import os

from . import asgi
from .asgi import App, Gone, Receive, Refused, Scope, Send
from .live import EVERY_VERSION, Live, listed, with_versions
from .questions import CHAT, COMPLETIONS, LONGEST, Settings, bounded, from_chat, text_of
from .readiness import Readiness

__all__ = ["Chat", "Settings"]

_ROOTS = (
    "chat health ready adapters ping version load metrics docs tokenize detokenize score rerank "
    "classify"
)
_OPEN = frozenset(["/", "/openapi.json", "/pooling", *(f"/{name}" for name in _ROOTS.split())])
_ADMIN = frozenset(["/v1/load_lora_adapter", "/v1/unload_lora_adapter"])


class Chat:
    """The middleware; `settings` are read from the environment when none are given."""

    def __init__(self, app: App, settings: Settings | None = None) -> None:
        self._app = app
        self._settings = settings or Settings.of(os.environ)
        self._live = Live(self._settings.live) if self._settings.live else None
        self._readiness = Readiness(self._settings, self._live)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, change, bar or pass on one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif not _may(scope):
            await _bar(scope, receive, send)
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        except Refused as refused:
            await asgi.say_error(send, refused.status, refused.sentence)
        except Gone:
            return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path, settings = scope["method"], scope["path"], self._settings
        if path == "/" and method in ("GET", "HEAD"):
            await asgi.say(send, 200, {"message": "Server is running"})
        elif path == "/ready" and method == "GET":
            await asgi.say(send, *await self._readiness.answer(self._app, scope))
        elif path == "/chat" and method == "POST":
            await self._chat(scope, receive, send)
        elif self._live is not None:
            await self._answer_live(self._live, scope, receive, send)
        elif path in LONGEST and method == "POST" and (settings.aliases or settings.max_tokens):
            asked = asgi.object_of(await asgi.body_of(receive))
            body = bounded(asked, path, settings)
            changed = asgi.redirected(scope, path, body)
            await self._app(changed, asgi.once(body, receive), send)
        elif path == "/v1/models" and method == "GET" and settings.aliases:
            await self._models(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer_live(self, live: Live, scope: Scope, receive: Receive, send: Send) -> None:
        method, path, versions = scope["method"], scope["path"], live.versions()
        if path == "/adapters" and method == "GET":
            await asgi.say(send, *((200, versions.words) if versions else (503, {})))
        elif path == "/v1/models" and method == "GET" and scope["query_string"] != EVERY_VERSION:
            status, answer = await asgi.ask(self._app, scope, receive)
            try:
                await asgi.say(send, status, listed(answer, versions))
            except (ValueError, LookupError, TypeError):
                await asgi.say_raw(send, status, answer)
        elif method == "POST" and path not in _ADMIN and asgi.is_json(scope):
            body = await asgi.body_of(receive)
            asked = asgi.changed(body, "model", versions.names if versions else {})
            if path in LONGEST and self._settings.max_tokens:
                asked = asgi.encoded(bounded(asgi.object_of(asked), path, self._settings))
            to = asgi.sized(scope, path, asked)
            await self._app(to, asgi.once_raw(asked, receive), send)
        else:
            await self._app(scope, receive, send)

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One question, one answer, through the server's own API."""
        asked = asgi.object_of(await asgi.body_of(receive))
        path = CHAT if self._settings.chat_template else COMPLETIONS
        versions = self._live.versions() if self._live else None
        settings = with_versions(self._settings, versions)
        body = bounded(from_chat(asked, settings), path, settings)
        if versions is not None:
            body["model"] = versions.names.get(body["model"], body["model"])
        to = asgi.redirected(scope, path, body)
        status, answer = await asgi.ask(self._app, to, asgi.once(body, receive))
        if status != 200:
            await asgi.say_raw(send, status, answer)
            return
        text = text_of(answer)
        if asked.get("return_full_text") is True:
            text = f"{asked.get('prompt', '')}{text}"
        await asgi.say(send, 200, {"Result": text})

    async def _models(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The server's own list, and every other name that its model answers to."""
        status, answer = await asgi.ask(self._app, scope, receive)
        try:
            listed = json.loads(answer)
            first = listed["data"][0]
            names = self._settings.aliases
            listed["data"] += [{**first, "id": name, "parent": first["id"]} for name in names]
        except (ValueError, LookupError, TypeError):
            await asgi.say_raw(send, status, answer)
            return
        await asgi.say(send, status, listed)


def _may(scope: Scope) -> bool:
    """Whether this route is for whoever asks."""
    path = scope["path"].rstrip("/") or "/"
    if path in _OPEN or (path.startswith("/v1/") and path not in _ADMIN):
        return True
    client = scope.get("client")
    return client is not None and asgi.is_loopback(client[0])


async def _bar(scope: Scope, receive: Receive, send: Send) -> None:
    """As if the route were not there."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    await asgi.say_error(send, 404, f"there is no {scope['path'][:200]} here")
