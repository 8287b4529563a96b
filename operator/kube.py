"""All Kubernetes requests of the operator: lists in pages, watches, and the few writes.

Between those who decide what to write (reconcile.py, lease.py) or listen (informer.py) and the
wire. Every failure leaves as one `ApiError`. Writes name the field owner `tunery` and are forced:
what Tunery decides about an object wins; what it does not name stays as others set it. Status goes
out as a merge-patch, because server-side apply of a status answers 500 for ever on a Workspace that
was created through v1alpha1.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson

import apierror
from apierror import ApiError
from jobs.decision import Action, Apply, Delete, Object, Patch, Ref
from wire import Exchange, Request

OWNER = "tunery"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
_PAGE = 250
"""Pages are the peak of memory: each holds some megabytes of objects before they are made slim."""
_PAGES = 2
"""The server makes the next one while one is made slim here."""
_WATCH_SILENCE_S = 90.0
"""The server sends a bookmark about every minute."""
_GRACE_S = 10.0
_DELETED = b'{"type":"DELETED"'
# Quotes within a text are escaped in JSON, so nobody can write one into an annotation.
_VERSION = re.compile(rb'"resourceVersion":"(\d+)"')
_PLURALS = {
    "ConfigMap": "configmaps",
    "ControllerRevision": "controllerrevisions",
    "Event": "events",
    "Job": "jobs",
    "Lease": "leases",
    "Node": "nodes",
    "Pod": "pods",
    "Service": "services",
    "StatefulSet": "statefulsets",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    "Workspace": "workspaces",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Which objects of a kind, in all namespaces; the server chooses by the selectors."""

    api_version: str
    kind: str
    labels: str = ""
    fields: str = ""
    metadata_only: bool = False
    bookmarks: bool = True
    """False for Events: the server has no cache of them, and sends no sign of life."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects of a list, and the version of the whole list."""

    items: list[Object]
    version: str
    following: str
    """What asks for the next page; "" after the last."""


class Kube:
    """`counted` is told the verb and the HTTP status (0: no answer) of every request.

    A watch on which nothing comes for `watch_silence_s` is taken for dead.
    """

    def __init__(
        self,
        exchange: Exchange,
        counted: Callable[[str, int], None] = lambda verb, code: None,
        watch_silence_s: float = _WATCH_SILENCE_S,
    ) -> None:
        self.pages = asyncio.Semaphore(_PAGES)
        """Held by whoever reads a page, so that there are never more in memory."""
        self._exchange = exchange
        self._counted = counted
        self._watch_silence_s = watch_silence_s

    async def page(self, source: Source, which: str = "") -> Page:
        """Some objects of a source: the first ones, or those that follow. All of one version."""
        query = {**_selectors(source), "limit": str(_PAGE)}
        if which:
            query["continue"] = which
        request = Request("GET", _collection(source, query), accept=_accept(source, "List"))
        found = await self._answer("list", request)
        metadata = found["metadata"]
        following = metadata.get("continue") or ""
        return Page(found.get("items") or [], metadata["resourceVersion"], following)

    async def watch(
        self, source: Source, version: str, seconds: int, own: Set[bytes] = frozenset()
    ) -> AsyncIterator[Object]:
        """Events since a version, bookmarks too, until the server ends it after `seconds`.

        `own`: versions that we made ourselves. Of those only the version is told, as a bookmark:
        the answer to the write was the whole object. Raises ApiError ("gone" when the version is
        too old), also for an error within the stream.
        """
        query = {
            **_selectors(source),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        silence_s = self._watch_silence_s if source.bookmarks else seconds + _GRACE_S
        request = Request(
            "GET",
            _collection(source, query),
            accept=_accept(source),
            silence_s=silence_s,
            total_s=None,
        )
        async for line in self._lines(request):
            made = _version(line) if own else b""
            event = _bookmark(made) if made in own else orjson.loads(line)
            if event["type"] == "ERROR":
                raise apierror.of_status(event["object"])
            yield event

    async def do(self, action: Action) -> Object:
        """Carry out what was decided; the object as it is now (empty when it is gone)."""
        match action:
            case Apply(wanted):
                return await self.apply(wanted)
            case Patch(ref, patch):
                return await self._merge("patch", _path(ref), patch)
            case Delete(ref, at_once):
                return await self.delete(ref, at_once=at_once)

    async def apply(self, wanted: Object) -> Object:
        """Server-side apply."""
        path = _path(ref_of(wanted)) + "?" + urlencode({"fieldManager": OWNER, "force": "true"})
        return await self._answer("apply", Request("PATCH", path, wanted, _APPLY))

    async def patch_status(self, ref: Ref, patch: Object) -> Object:
        """Merge-patch of the status subresource."""
        return await self._merge("patch_status", _path(ref) + "/status", {"status": patch})

    async def delete(self, ref: Ref, *, at_once: bool = False) -> Object:
        """Foreground deletion. One that is absent is what was wanted."""
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
        }
        if at_once:
            options |= {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        if ref.uid:
            options["preconditions"] = {"uid": ref.uid}
        try:
            found = await self._answer("delete", Request("DELETE", _path(ref), options))
            # What is deleted at once is answered as it was, and is gone by now.
            return {} if at_once else found
        except ApiError as error:
            if error.kind == "absent":
                return {}
            raise

    async def create(self, wanted: Object) -> Object:
        path = _base(wanted["apiVersion"], wanted["kind"], wanted["metadata"]["namespace"])
        return await self._answer("create", Request("POST", path, wanted))

    async def read(self, ref: Ref) -> Object:
        return await self._answer("get", Request("GET", _path(ref)))

    async def replace(self, wanted: Object) -> Object:
        """Update; "conflict" when it has changed since the version it carries."""
        return await self._answer("update", Request("PUT", _path(ref_of(wanted)), wanted))

    async def _merge(self, verb: str, path: str, patch: Object) -> Object:
        return await self._answer(
            verb, Request("PATCH", f"{path}?fieldManager={OWNER}", patch, _MERGE)
        )

    async def _answer(self, verb: str, request: Request) -> Object:
        code = 0
        try:
            async with self._exchange(request) as response:
                body = await response.read()
                code = response.status
                if code >= 400:
                    raise apierror.refused(code, body, response.headers)
                found: Object = orjson.loads(body)
                return found
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError) as error:
            raise apierror.unreachable(error) from error
        finally:
            self._counted(verb, code)

    async def _lines(self, request: Request) -> AsyncIterator[bytes]:
        try:
            async with self._exchange(request) as response:
                self._counted("watch", response.status)
                if response.status >= 400:
                    body = await response.read()
                    raise apierror.refused(response.status, body, response.headers)
                async for line in response.content:
                    yield line
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise apierror.unreachable(error) from error


def _version(line: bytes) -> bytes:
    """Of the object in an event that is no deletion; its own comes first."""
    found = None if line.startswith(_DELETED) else _VERSION.search(line)
    return found[1] if found else b""


def _bookmark(version: bytes) -> Object:
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version.decode()}}}


def ref_of(found: Object) -> Ref:
    """The name of an object."""
    metadata: Mapping[str, Any] = found["metadata"]
    return Ref(found["apiVersion"], found["kind"], metadata.get("namespace", ""), metadata["name"])


def _selectors(source: Source) -> dict[str, str]:
    both = {"labelSelector": source.labels, "fieldSelector": source.fields}
    return {name: value for name, value in both.items() if value}


def _accept(source: Source, of_what: str = "") -> str:
    return _METADATA.format(of_what) if source.metadata_only else "application/json"


def _collection(source: Source, query: Mapping[str, str]) -> str:
    return _base(source.api_version, source.kind, "") + "?" + urlencode(query)


def _path(ref: Ref) -> str:
    return f"{_base(ref.api_version, ref.kind, ref.namespace)}/{ref.name}"


def _base(api_version: str, kind: str, namespace: str) -> str:
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{_PLURALS[kind]}"
