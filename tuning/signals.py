"""SIGTERM and SIGINT → a wish to stop. Installed by `__main__` before anything heavy is imported.

As PID 1 of a container Python ignores SIGTERM unless a handler is there (kernel: pid namespaces),
and the pod would hang until it is killed. Outside training a signal ends the word at once: all that
is written is whole or not there. While training it only raises the flag that the trainer looks at
between steps; a second one ends at once as well.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tuning.stop import Stop

_WATCHED = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """The handlers of this process and the flag they raise."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self._patient = False

    @contextmanager
    def installed(self) -> Iterator[Stop]:
        """Handle signals inside the block; whatever was there before comes back after it."""
        before = {number: signal.signal(number, self._handle) for number in _WATCHED}
        try:
            yield self.stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Inside the block the first signal only raises the flag."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.stop.requested
        self.stop.request(signal.Signals(number).name)
        if again or not self._patient:
            # Not a Failure: a library's `except Exception` must not swallow it.
            raise KeyboardInterrupt(signal.Signals(number).name)
