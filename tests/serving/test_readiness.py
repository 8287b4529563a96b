"""GET /ready: every model is asked for one token, once; one that fails makes the pod unready."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from serving.chat import Chat, Settings
from serving.chat.asgi import Message, Receive, Scope, Send

MODELS = ("base", "facts", "style")


@dataclass
class Server:
    """Answers chats, but for those models that fail."""

    failing: set[str] = field(default_factory=set)
    asked: list[Any] = field(default_factory=list)
    hold: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = json.loads((await receive())["body"])
        self.asked.append((scope["method"], scope["path"], body))
        if self.hold is not None:
            await self.hold.wait()
        status = 500 if body["model"] in self.failing else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


async def get(app: Chat) -> tuple[int, Any]:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/ready",
        "headers": [],
        "client": ("10.1.2.3", 1),
    }
    said: list[Message] = []

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def keep(message: Message) -> None:
        said.append(message)

    await app(scope, gone, keep)
    return said[0]["status"], json.loads(said[1]["body"])


def test_each_is_asked_once_for_one_token() -> None:
    async def scenario() -> None:
        server = Server()
        app = Chat(server, Settings(models=MODELS))
        assert await get(app) == (200, {"waiting": [], "failed": {}})
        assert await get(app) == (200, {"waiting": [], "failed": {}})
        assert [body["model"] for _, _, body in server.asked] == list(MODELS)
        assert {body["max_tokens"] for _, _, body in server.asked} == {1}
        assert {how for how, _, _ in server.asked} == {"POST"}

    asyncio.run(scenario())


def test_one_that_fails_is_named_and_asked_again() -> None:
    async def scenario() -> None:
        server = Server(failing={"style"})
        app = Chat(server, Settings(models=MODELS))
        assert await get(app) == (503, {"waiting": ["style"], "failed": {"style": 500}})
        server.failing.clear()
        assert await get(app) == (200, {"waiting": [], "failed": {}})
        assert [body["model"] for _, _, body in server.asked] == [*MODELS, "style"]

    asyncio.run(scenario())


def test_a_slow_answer_is_not_asked_for_twice() -> None:
    async def scenario() -> None:
        server = Server(hold=asyncio.Event())
        app = Chat(server, Settings(models=("base",)))
        first = asyncio.create_task(get(app))
        while not server.asked:
            await asyncio.sleep(0)
        assert (await get(app))[0] == 503
        assert server.hold is not None
        server.hold.set()
        assert (await first)[0] == 200
        assert len(server.asked) == 1

    asyncio.run(scenario())


def test_models_without_turns_are_asked_to_go_on() -> None:
    async def scenario() -> None:
        server = Server()
        await get(Chat(server, Settings(models=("base",), chat_template=False)))
        assert server.asked[0][1] == "/v1/completions" and server.asked[0][2]["prompt"]

    asyncio.run(scenario())
