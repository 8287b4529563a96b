"""One builder, starter or stopper at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.layout import Layout
from cluster.progress import say


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Hold the cluster's lock; waits for another copy, and says so. The kernel lets go of it."""
    layout.lock.parent.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another `python -m cluster` holds {layout.lock}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
