"""What is to be done next: Workspaces by key, each at most once at a time, none ever lost.

Between the caches, whose changes `add` keys, and the workers of reconcile.py, who `get` them. A key
that is added while a worker has it, or within a moment after, comes up again when that moment is
over: a pod that starts is four changes within one, and one look is enough. Two lanes:
Workspaces that run something go first, so that a thousand new ones do not keep a finished one from
being told; every other place is a new one's, so that they too get on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
_LONGEST_S = 60.0
_REST_S = 1.5
"""The Job controller takes a second to follow its pods: both are one look."""
_EVERY = 2


class WorkQueue(Generic[K]):
    """`runs` says whether a key belongs into the first lane; `rest_s` is that moment."""

    def __init__(
        self, runs: Callable[[K], bool] = lambda key: False, rest_s: float = _REST_S
    ) -> None:
        self._runs = runs
        self._rest_s = rest_s
        # Dictionaries without values: in order, and nothing twice.
        self._first: dict[K, None] = {}
        self._second: dict[K, None] = {}
        self._again: set[K] = set()
        self._busy: dict[K, float] = {}
        self._resting: dict[K, asyncio.TimerHandle] = {}
        self._fails: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._waiting = asyncio.Semaphore(0)
        self._taken = 0

    def __len__(self) -> int:
        """All that wait, for a worker or for their moment to be over."""
        return len(self._first) + len(self._second) + len(self._again)

    def longest_busy_s(self) -> float:
        """How long the slowest of the keys at work has been there."""
        return time.monotonic() - min(self._busy.values()) if self._busy else 0.0

    def add(self, key: K) -> None:
        """Now, or as soon as the worker that has it is done and it has rested."""
        if key in self._busy or key in self._resting:
            self._again.add(key)
        elif key not in self._first and key not in self._second:
            (self._first if self._runs(key) else self._second)[key] = None
            self._waiting.release()

    def later(self, key: K, delay_s: float) -> None:
        """Add it after a while, instead of any earlier such wish."""
        self._cancel(key)
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(delay_s, self._due, key)

    def failed(self, key: K, at_least_s: float = 0) -> float:
        """Add it again after 1, 2, 4 … 60 s; how long that is."""
        fails = self._fails.get(key, 0)
        self._fails[key] = fails + 1
        delay_s = max(at_least_s, min(_LONGEST_S, 2.0 ** min(fails, 6)))
        self.later(key, delay_s)
        return delay_s

    def fails(self, key: K) -> int:
        """How often in a row it has failed."""
        return self._fails.get(key, 0)

    def went_well(self, key: K) -> None:
        self._fails.pop(key, None)

    def forget(self, key: K) -> None:
        """It is gone: no clock and no count of failures is kept."""
        self._cancel(key)
        self.went_well(key)

    async def get(self) -> K:
        """The next key; `done` must follow."""
        await self._waiting.acquire()
        self._taken += 1
        lanes = (self._first, self._second)
        if self._taken % _EVERY == 0:
            lanes = (self._second, self._first)
        lane = lanes[0] or lanes[1]
        key = next(iter(lane))
        del lane[key]
        self._cancel(key)
        self._busy[key] = time.monotonic()
        return key

    def done(self, key: K) -> None:
        del self._busy[key]
        loop = asyncio.get_running_loop()
        self._resting[key] = loop.call_later(self._rest_s, self._rested, key)

    def stop(self) -> None:
        """No clock rings any more."""
        for timer in (*self._timers.values(), *self._resting.values()):
            timer.cancel()

    def _rested(self, key: K) -> None:
        del self._resting[key]
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
