"""The ASGI side of POST /chat: reading a request's body, asking the server again, answering.

Part of the package that `prepare` copies to where a server finds it: standard library only.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Json = dict[str, Any]

MOST_BODY_BYTES = 8 * 1024 * 1024
# Headers of a body that is replaced; the answer must be readable here.
_REPLACED = (b"content-length", b"content-type", b"content-encoding", b"transfer-encoding")
_DROPPED = frozenset((*_REPLACED, b"accept-encoding", b"expect"))


class Refused(Exception):
    """The request cannot be answered: status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Gone(Exception):
    """Whoever asked has closed the connection."""


async def body_of(receive: Receive) -> bytes:
    """The whole body. Raises Gone, and Refused (413) for one that is too large."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > MOST_BODY_BYTES:
            raise Refused(413, f"the request is larger than {MOST_BODY_BYTES} bytes")
        more = message.get("more_body", False)
    return b"".join(parts)


def object_of(body: bytes) -> Json:
    """The JSON object in a body. Raises Refused (400)."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "the request must be a JSON object")
    return found


def is_json(scope: Scope) -> bool:
    """Whether a request says that its body is JSON, or does not say what it is."""
    kinds = [value for name, value in scope["headers"] if name.lower() == b"content-type"]
    return not kinds or b"json" in kinds[0].lower()


def changed(body: bytes, key: str, values: Mapping[str, str]) -> bytes:
    """A JSON object with another value of one key; anything else as it is."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return body
    value = found.get(key) if isinstance(found, dict) else None
    if not isinstance(value, str) or value not in values:
        return body
    return encoded({**found, key: values[value]})


def redirected(scope: Scope, path: str, body: Json) -> Scope:
    """The same connection asking for another path with another body; the caller's login stays."""
    return sized(scope, path, encoded(body))


def sized(scope: Scope, path: str, body: bytes) -> Scope:
    """The same with a body of bytes."""
    kept = [(k, v) for k, v in scope["headers"] if k.lower() not in _DROPPED]
    length = str(len(body)).encode()
    headers = [*kept, (b"content-type", b"application/json"), (b"content-length", length)]
    return {**scope, "path": path, "raw_path": path.encode(), "headers": headers}


def once(body: Json, receive: Receive) -> Receive:
    """The new body, then whatever the connection says (that it was closed)."""
    return once_raw(encoded(body), receive)


def once_raw(body: bytes, receive: Receive) -> Receive:
    """The same with a body of bytes."""
    left = [body]

    async def get() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return get


async def ask(app: App, scope: Scope, receive: Receive) -> tuple[int, bytes]:
    """What the server itself answers, whole: status and body."""
    status, parts = 500, []

    async def keep(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, keep)
    return status, b"".join(parts)


async def say(send: Send, status: int, value: Json) -> None:
    """Answer with a JSON object."""
    await say_raw(send, status, encoded(value))


async def say_error(send: Send, status: int, sentence: str) -> None:
    """Answer as OpenAI's API does when it refuses."""
    kind = "invalid_request_error" if status < 500 else "internal_error"
    error = {"message": sentence, "type": kind, "param": None, "code": status}
    await say(send, status, {"error": error})


async def say_raw(send: Send, status: int, body: bytes) -> None:
    """Answer with bytes that are JSON already."""
    headers: Iterable[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def encoded(value: Json) -> bytes:
    """The shortest JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
