"""An API server in memory that speaks what the operator speaks: lists in pages, watches, writes.

A real HTTP server, for what a real API server does too rarely or too slowly: forgetting old
versions, answering late, failing at the n-th request. It knows no types, defaults or admission.

    async with running() as api:
        api.put(node("n1"))
        api.faults.append(Fault("PATCH", "/jobs/", status=500))
        wire = api.wire()
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf
from aiohttp import web

from wire import Wire

Object = dict[str, Any]
_PATH = re.compile(
    r"/(?:api|apis)/(?P<version>[^/]+(?:/v[^/]+)?)"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>status))?"
)
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass
class Fault:
    """What happens to the next `times` requests of this kind, after `after` that go through."""

    method: str
    path: str
    status: int = 0
    """Answer so instead; 0 does what the other fields say."""
    body: Object = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False
    """Do it, but drop the connection instead of answering."""
    silent: bool = False
    """Take the request and say nothing."""
    times: int = 1
    after: int = 0


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    body: Object


class ApiServer:
    """What is stored, what was asked, what is to go wrong."""

    def __init__(self) -> None:
        self.url = ""
        self.objects: dict[tuple[str, str, str], Object] = {}
        """(plural, namespace, name)"""
        self.log: list[Asked] = []
        self.faults: list[Fault] = []
        self._version = 100
        self._history: list[tuple[int, str, Object | None, Object | None]] = []
        """(version, plural, before, after)"""
        self._forgotten = 0
        self._news = asyncio.Event()
        self._watches: set[asyncio.Task[Any]] = set()

    def wire(self) -> Wire:
        return Wire(lambda: kopf.ConnectionInfo(server=self.url))

    def writes(self, path: str = "") -> list[Asked]:
        return [a for a in self.log if a.method in WRITES and re.search(path, a.path)]

    def of(self, plural: str) -> list[Object]:
        return [body for (p, _, _), body in self.objects.items() if p == plural]

    def put(self, plural: str, body: Object) -> Object:
        """Somebody makes or changes an object."""
        metadata = body["metadata"]
        key = (plural, metadata.get("namespace", ""), metadata["name"])
        old = self.objects.get(key)
        if old is not None and {**old, "metadata": {**old["metadata"], "resourceVersion": ""}} == {
            **body,
            "metadata": {**metadata, "resourceVersion": ""},
        }:
            return old
        self._version += 1
        uid = old["metadata"]["uid"] if old else str(uuid.uuid4())
        kept = {
            "generation": 1,
            "uid": uid,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **metadata,
        }
        new = {**body, "metadata": {**kept, "resourceVersion": str(self._version)}}
        self.objects[key] = new
        self._tell(plural, old, new)
        return new

    def remove(self, plural: str, namespace: str, name: str) -> Object:
        body = copy.deepcopy(self.objects.pop((plural, namespace, name)))
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._tell(plural, body, None)
        return body

    def forget(self) -> None:
        """Compaction: no watch can go on from where it was, and the running ones are cut."""
        self._version += 1
        self._forgotten = self._version
        self.cut()

    def cut(self) -> None:
        """Every watch loses its connection."""
        for task in self._watches:
            task.cancel()

    @property
    def watching(self) -> int:
        return len(self._watches)

    def _tell(self, plural: str, before: Object | None, after: Object | None) -> None:
        self._history.append((self._version, plural, *copy.deepcopy((before, after))))
        self._news.set()
        self._news = asyncio.Event()

    def _fault(self, request: web.Request) -> Fault | None:
        for fault in self.faults:
            if fault.method != request.method or not re.search(fault.path, request.path_qs):
                continue
            if fault.after > 0:
                fault.after -= 1
            elif fault.times > 0:
                fault.times -= 1
                return fault
        return None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.log.append(Asked(request.method, request.path_qs, json.loads(text) if text else {}))
        fault = self._fault(request)
        if fault and fault.silent:
            await asyncio.Event().wait()
        if fault and fault.status:
            return _status(fault.status, "Fault", fault.body, fault.headers)
        response = await self._serve(request, json.loads(text) if text else {})
        if fault and fault.lost and request.transport:
            request.transport.abort()
        return response

    async def _serve(self, request: web.Request, body: Object) -> web.StreamResponse:
        found = _PATH.fullmatch(request.path)
        if found is None:
            return _status(404, "NotFound")
        plural, namespace = found["plural"], found["namespace"] or ""
        if request.method == "GET" and found["name"] is None:
            watch = request.query.get("watch") == "1"
            return await (self._watch if watch else self._list)(request, plural)
        name = found["name"] or body["metadata"]["name"]
        old = self.objects.get((plural, namespace, name))
        match request.method:
            case "GET":
                return web.json_response(old) if old else _status(404, "NotFound")
            case "POST":
                if old:
                    return _status(409, "AlreadyExists")
                return web.json_response(self.put(plural, body), status=201)
            case "PUT":
                if not old:
                    return _status(404, "NotFound")
                wanted = body["metadata"].get("resourceVersion")
                if wanted and wanted != old["metadata"]["resourceVersion"]:
                    return _status(409, "Conflict")
                return web.json_response(self.put(plural, body))
            case "DELETE":
                if not old:
                    return _status(404, "NotFound")
                uid = (body.get("preconditions") or {}).get("uid")
                if uid and uid != old["metadata"]["uid"]:
                    return _status(409, "Conflict")
                return web.json_response(self.remove(plural, namespace, name))
        if "apply" in request.content_type:
            return web.json_response(self.put(plural, merged(old or {}, body)))
        if not old:
            return _status(404, "NotFound")
        return web.json_response(self.put(plural, merged(old, body)))

    async def _list(self, request: web.Request, plural: str) -> web.StreamResponse:
        keys = [k for k in sorted(self.objects) if k[0] == plural]
        chosen = [k for k in keys if _chosen(self.objects[k], request.query)]
        start, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", 500))
        metadata: Object = {"resourceVersion": str(self._version)}
        if start + limit < len(chosen):
            metadata["continue"] = str(start + limit)
        items = [self.objects[k] for k in chosen[start : start + limit]]
        return web.json_response({"kind": "List", "metadata": metadata, "items": items})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self._forgotten:
            return _status(410, "Expired")
        response = web.StreamResponse()
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            async with asyncio.timeout(int(request.query["timeoutSeconds"])):
                while True:
                    news, now = self._news, self._version
                    for event in self._since(since, plural, request.query):
                        await response.write(
                            json.dumps(event, separators=(",", ":")).encode() + b"\n"
                        )
                    since = now
                    await news.wait()
        except TimeoutError:
            return response
        finally:
            self._watches.discard(task)

    def _since(self, since: int, plural: str, query: Mapping[str, str]) -> Iterator[Object]:
        for version, of, before, after in self._history:
            if version <= since or of != plural:
                continue
            was = before is not None and _chosen(before, query)
            if after is not None and _chosen(after, query):
                yield {"type": "MODIFIED" if was else "ADDED", "object": after}
            elif before is not None and was:
                # Gone, or no longer one of those that were asked for.
                metadata = {**before["metadata"], "resourceVersion": str(version)}
                yield {"type": "DELETED", "object": {**before, "metadata": metadata}}


@asynccontextmanager
async def running() -> AsyncIterator[ApiServer]:
    """On a free port of the loopback."""
    api = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", api.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        yield api
    finally:
        api.cut()
        await runner.cleanup()


def merged(old: Object, patch: Object) -> Object:
    """RFC 7396."""
    new = dict(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict):
            under = new.get(key)
            new[key] = merged(under if isinstance(under, dict) else {}, value)
        else:
            new[key] = value
    return new


def _chosen(body: Object, query: Mapping[str, str]) -> bool:
    labels = body["metadata"].get("labels") or {}
    for part in filter(None, query.get("labelSelector", "").split(",")):
        if part.startswith("!") == (part.removeprefix("!") in labels):
            return False
    for part in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, value = part.partition("=")
        found: Any = body
        for key in path.split("."):
            found = found.get(key) or {}
        if found != value:
            return False
    return True


def _status(
    code: int,
    reason: str,
    more: Object | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": f"{reason} {code}"}
    return web.json_response({**body, **(more or {})}, status=code, headers=headers)
