"""What pods say of themselves: how far they train, and which live adapters they serve.

reconcile.py says whom to follow; what a pod answers goes into the caches, which wake the Workspace
when it is news. One task per pod that is followed, none otherwise. A pod that does not answer is
asked again, less and less often (a NetworkPolicy may stand between for good): what is known of it
is then old.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import aiohttp

from informer import Name

T = TypeVar("T")
log = logging.getLogger("tunery.poller")
_EVERY_S, _FIRST_S = 10.0, 3.0
"""A pod that has just started is still importing."""
_SELDOM = 6
"""The interval grows with each silence, up to so many times."""
_LONGEST_S = 2.0
_MOST_BYTES = 64 * 1024


class Poller(Generic[T]):
    """`told` is given what a pod says; None when it is followed no more. `close` it.

    `parse` reads an answer (text, who answers) and raises ValueError when it is none. With
    `seldom_when_same` an answer that is no news counts as a silence.
    """

    def __init__(
        self,
        told: Callable[[Name, str, T | None], None],
        parse: Callable[[str, str], T | None],
        every_s: float = _EVERY_S,
        first_s: float = _FIRST_S,
        *,
        seldom_when_same: bool = False,
    ) -> None:
        self._told = told
        self._parse = parse
        self._first_s = first_s
        self._every_s = every_s
        self._seldom_when_same = seldom_when_same
        self._tasks: dict[tuple[Name, str], tuple[str, asyncio.Task[None]]] = {}
        self._of: dict[Name, set[str]] = {}
        self._session: aiohttp.ClientSession | None = None

    def follow(self, key: Name, urls: Mapping[str, str]) -> None:
        """From now on ask these (who → URL) about a Workspace, and nobody else."""
        for who in self._of.get(key, set()) - set(urls):
            self._leave(key, who)
        for who, url in urls.items():
            known, _ = self._tasks.get((key, who), ("", None))
            if url != known:
                if known:
                    self._leave(key, who)
                self._of.setdefault(key, set()).add(who)
                self._tasks[key, who] = (url, asyncio.create_task(self._ask(key, who, url)))

    def __len__(self) -> int:
        return len(self._tasks)

    def _leave(self, key: Name, who: str) -> None:
        _, task = self._tasks.pop((key, who))
        task.cancel()
        self._of[key].discard(who)
        if not self._of[key]:
            del self._of[key]
        self._told(key, who, None)

    async def stop(self) -> None:
        """Follow nobody any more; whoever is followed again begins anew."""
        tasks = [task for _, task in self._tasks.values()]
        self._of.clear()
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.stop()
        if self._session is not None:
            await self._session.close()

    async def _ask(self, key: Name, who: str, url: str) -> None:
        await asyncio.sleep(self._first_s)
        times, last = 1, None
        while True:
            try:
                found = self._parse((await self._read(url)).decode(errors="replace"), who)
                self._told(key, who, found)
                same = self._seldom_when_same and found == last
                times, last = min(times + 1, _SELDOM) if same else 1, found
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
