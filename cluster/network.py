"""The calling thread as a guest in the machine's network, for servers and clients in a test."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000


@contextmanager
def entered(pid: int) -> Iterator[None]:
    """Until the end of the block this thread, and threads and processes that it starts, have the
    network of the machine whose process 1 has this host pid. Names are still resolved as outside:
    use addresses.

    Raises:
        OSError: no such process, or not root.
    """
    with open("/proc/thread-self/ns/net") as ours, open(f"/proc/{pid}/ns/net") as theirs:
        _set_namespace(theirs.fileno())
        try:
            yield
        finally:
            _set_namespace(ours.fileno())


def _set_namespace(descriptor: int) -> None:
    # os.setns came with Python 3.12; the C library has had it for long.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
