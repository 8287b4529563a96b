"""An event loop that gathers: what arrives within a moment is worked on in one go.

main.py runs kopf and the engine in it. A Workspace's life is some forty small pieces of news, and
to be woken for each costs more than the work itself: by then others have taken the CPU's caches.
Measured with 150 Workspaces at 20 a second, in turns on one cluster: 34.7 and 34.4 ms of CPU a
Workspace when woken each time, 26.7 and 24.1 ms with moments of 50 ms; later, of 200 Workspaces,
25.2 ms with those and 21.8 ms with moments of 100 ms. News after a quiet moment is not held up, nor
is the start: it gathers from `begin` on.
"""

from __future__ import annotations

import selectors
import time

_MOMENT_S = 0.1
"""Five requests one after the other make a Job: half a second when much is going on."""


class Gathering(selectors.DefaultSelector):
    """A selector that, once told to, wakes up at most once in `moment_s`."""

    def __init__(self, moment_s: float = _MOMENT_S) -> None:
        super().__init__()
        self._moment_s = moment_s
        self._begun = False
        self._woken_at = 0.0

    def begin(self) -> None:
        self._begun = True

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready. Nothing gets lost by asking twice: a file stays ready until it is read."""
        ready = self._ready(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        ready = self._ready(timeout)
        if not self._begun:
            return ready
        rest_s = self._woken_at + self._moment_s - time.monotonic()
        if rest_s > 0:
            time.sleep(rest_s)
            ready = self._ready(0)
        self._woken_at = time.monotonic()
        return ready

    def _ready(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        return found
