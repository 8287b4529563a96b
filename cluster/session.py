"""A cluster for a while: started when none runs, stopped by the last of those who share it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from cluster import machine
from cluster.layout import Layout
from cluster.lock import locked
from cluster.up import Options, down, up


@contextmanager
def borrowed(layout: Layout, options: Options) -> Iterator[int]:
    """The host pid of a running machine. One that was started by hand stays when we leave; one that
    a borrower started goes with the last borrower, also when the others were killed."""
    layout.state.parent.mkdir(parents=True, exist_ok=True)
    users = os.open(layout.state.parent, os.O_RDONLY)
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        with locked(layout):
            ours = machine.find(layout) is None
            pid = up(layout, options)
            if ours:
                layout.borrowed.touch()
        yield pid
    finally:
        with locked(layout):
            if layout.borrowed.exists() and _alone(users):
                down(layout)
        os.close(users)


def around(layout: Layout, options: Options, command: Sequence[str]) -> int:
    """Run a command of the host while there is a cluster; its exit status."""
    signal.signal(signal.SIGTERM, _end)
    with borrowed(layout, options):
        return subprocess.call(command)


def _alone(users: int) -> bool:
    """Whether nobody else holds it."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
