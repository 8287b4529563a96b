"""One builder, starter or stopper at a time; binaries and images are built beside them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.layout import Layout
from cluster.progress import say


@contextmanager
def locked(layout: Layout, what: str = "cluster") -> Iterator[None]:
    """Hold the lock of `what`; waits for another copy, and says so. The kernel lets go of it."""
    path = layout.lock(what)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"somebody else holds {path}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
