"""How far the training pods are: their own /metrics, asked every ten seconds while they train.

reconcile.py says whom to follow; what a pod answers goes into the caches, which wake the Workspace
when it is news. One task per Workspace that trains, none otherwise. A pod that does not answer is
asked again, less and less often (a NetworkPolicy may stand between for good): its progress is then
old, and nothing else depends on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import aiohttp

from informer import Name
from jobs.progress import parse
from jobs.seen import Pod, Progress

log = logging.getLogger("tunery.poller")
_EVERY_S, _FIRST_S = 10.0, 3.0
"""A pod that has just started is still importing."""
_SELDOM = 6
"""The interval grows with each silence, up to so many times."""
_LONGEST_S = 2.0
_MOST_BYTES = 64 * 1024


class Poller:
    """`told` is given what a pod says; None when it is followed no more. `close` it."""

    def __init__(
        self,
        told: Callable[[Name, Progress | None], None],
        every_s: float = _EVERY_S,
        first_s: float = _FIRST_S,
    ) -> None:
        self._told = told
        self._first_s = first_s
        self._every_s = every_s
        self._tasks: dict[Name, tuple[str, asyncio.Task[None]]] = {}
        self._session: aiohttp.ClientSession | None = None

    def follow(self, key: Name, url: str, pods: Sequence[Pod]) -> None:
        """From now on ask this URL; "" asks no more."""
        known, task = self._tasks.get(key, ("", None))
        if url == known:
            return
        if task is not None:
            task.cancel()
            del self._tasks[key]
            self._told(key, None)
        if url:
            uid = next((pod.uid for pod in pods if pod.ip == urlsplit(url).hostname), "")
            self._tasks[key] = (url, asyncio.create_task(self._ask(key, url, uid)))

    def __len__(self) -> int:
        return len(self._tasks)

    async def stop(self) -> None:
        """Follow nobody any more; whoever is followed again begins anew."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.stop()
        if self._session is not None:
            await self._session.close()

    async def _ask(self, key: Name, url: str, pod_uid: str) -> None:
        await asyncio.sleep(self._first_s)
        times = 1
        while True:
            try:
                self._told(key, parse((await self._read(url)).decode(errors="replace"), pod_uid))
                times = 1
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                log.debug("key=%s/%s %s: %s", *key, url, error)
                times = min(times + 1, _SELDOM)
            await asyncio.sleep(self._every_s * times)

    async def _read(self, url: str) -> bytes:
        """At most 64 KiB of it: a pod is nobody we must trust."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_LONGEST_S),
                connector=aiohttp.TCPConnector(limit=64, force_close=True),
            )
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
            try:
                return await response.content.readexactly(_MOST_BYTES)
            except asyncio.IncompleteReadError as end:
                return end.partial
