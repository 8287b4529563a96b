"""One kind of object, listed once and watched since: a dictionary kept equal to the cluster.

Between kube.py and caches.py. Objects are made slim at the door, and only a slim value that differs
wakes anybody, so heartbeats and managed fields cost one comparison. A list is compared with what
was known: what vanished while nobody watched is told as gone, which a watch alone would never do.

Answers to our own writes come in through `answered`, so that nobody decides from a cache that has
not yet seen them. That takes versions that can be compared, as Kubernetes promises for one kind.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from apierror import ApiError
from jobs.decision import Object
from kube import Kube, Source

T = TypeVar("T")
Name = tuple[str, str]
"""(namespace, name); the namespace is "" for nodes."""
Changed = Callable[[Name, T | None, T | None], None]
"""Told the name, the slim value before and the one after; None where there is none."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_WATCH_S, _BLIND_WATCH_S = (240, 300), (120, 150)
"""A different end for each watch, so that they do not all come back at once. Sooner where nothing
but the end tells that the server is still there."""

log = logging.getLogger("tunery.informer")


class Informer(Generic[T]):
    """`slim` makes a value of an object, or None for one that nobody needs.

    Of more than `most` objects the ones known longest are forgotten.
    """

    def __init__(
        self,
        kube: Kube,
        source: Source,
        slim: Callable[[Object], T | None],
        changed: Changed[T],
        most: int = sys.maxsize,
    ) -> None:
        self.source = source
        self.items: dict[Name, T] = {}
        self.synced = asyncio.Event()
        self.heard_at = time.monotonic()
        """When the server last said anything about it."""
        self._kube = kube
        self._slim = slim
        self._changed = changed
        self._most = most
        self._versions: dict[Name, int] = {}
        self._own: set[bytes] = set()
        """Versions that our own writes made, and the watch has not told yet."""
        self._watched = 0
        """The version up to which everything is known."""
        self._pause_s = _FIRST_PAUSE_S

    async def run(self) -> None:
        """List, watch, and begin anew whenever the server has forgotten our version. Never ends."""
        while True:
            try:
                version = await self._list()
                self.synced.set()
                await self._follow(version)
            except ApiError as error:
                await self._rest(error)

    async def _list(self) -> str:
        unseen = set(self.items)
        self._own.clear()
        version, which = await self._read_page("", unseen)
        while which:
            version, which = await self._read_page(which, unseen)
        self._watched = _number(version)
        for name in unseen:
            self._drop(name, self._watched)
        return version

    async def _read_page(self, which: str, unseen: set[Name]) -> tuple[str, str]:
        """The version of the list, and what asks for the next page."""
        async with self._kube.pages:
            page = await self._kube.page(self.source, which)
            self.heard_at = time.monotonic()
            for found in page.items:
                self.put(found)
                unseen.discard(_name(found))
            return page.version, page.following

    async def _follow(self, version: str) -> None:
        """Watch after watch. Returns (by ApiError "gone") only when a new list is needed."""
        limits_s = _WATCH_S if self.source.bookmarks else _BLIND_WATCH_S
        while True:
            began = time.monotonic()
            try:
                async for event in self._kube.watch(
                    self.source, version, random.randint(*limits_s), self._own
                ):
                    self._take(event)
                    version = event["object"]["metadata"]["resourceVersion"]
                if time.monotonic() - began < 1:
                    raise ApiError("transient", "the watch ended at once")
                self._hear()
            except ApiError as error:
                if error.kind == "gone":
                    raise
                await self._rest(error)

    def _take(self, event: Object) -> None:
        self._hear()
        found = event["object"]
        version = found["metadata"]["resourceVersion"]
        self._watched = _number(version)
        self._own.discard(version.encode())
        match event["type"]:
            case "ADDED" | "MODIFIED":
                self.put(found)
            case "DELETED":
                self._drop(_name(found), self._watched)

    def answered(self, found: Object) -> None:
        """What a write of ours was answered with. Unless the watch has come further: then it has
        told this too, or that the object is gone since."""
        version = found["metadata"]["resourceVersion"]
        known = max(self._watched, self._versions.get(_name(found), 0))
        if _number(version) > self._watched:
            self.put(found)
        if _number(version) > known:  # else nothing was written, and nothing will be told
            self._own.add(version.encode())

    def put(self, found: Object) -> None:
        """An object as the server has just told it, unless something newer is known."""
        name, version = _name(found), _number(found["metadata"]["resourceVersion"])
        if version < self._versions.get(name, 0):
            return
        before, after = self.items.get(name), self._slim(found)
        if after is None:
            self._versions.pop(name, None)
            self.items.pop(name, None)
        else:
            self._versions[name] = version
            self.items[name] = after
            if len(self.items) > self._most:
                oldest = next(iter(self.items))
                self._drop(oldest, self._versions[oldest])
        if before != after:
            self._changed(name, before, after)

    def _drop(self, name: Name, version: int) -> None:
        """It is gone, unless it was made again since."""
        if version < self._versions.get(name, 0):
            return
        self._versions.pop(name, None)
        before = self.items.pop(name, None)
        if before is not None:
            self._changed(name, before, None)

    def _hear(self) -> None:
        """The watch lives: the next trouble is the first one."""
        self.heard_at = time.monotonic()
        self._pause_s = _FIRST_PAUSE_S

    async def _rest(self, error: ApiError) -> None:
        """Wait, longer each time, until the server says something again."""
        pause_s = max(error.retry_after_s, self._pause_s * random.uniform(0.5, 1.5))
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)
        log.warning("%s: %s; again in %.1f s", self.source.kind, error.sentence, pause_s)
        await asyncio.sleep(pause_s)


def _name(found: Object) -> Name:
    metadata: Mapping[str, Any] = found["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0
