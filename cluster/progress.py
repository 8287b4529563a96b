"""One line per step, with its seconds: the only place of this package that writes to a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(line: str) -> None:
    """Write one line to standard error, at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announce `what` when it starts on a terminal, and tell its seconds when it has ended."""
    start_s = time.monotonic()
    if sys.stderr.isatty():
        sys.stderr.write(f"  …      {what}\r")
        sys.stderr.flush()
    try:
        yield
    except BaseException:
        say(f"  failed {what} ({time.monotonic() - start_s:.1f} s)")
        raise
    say(f"{time.monotonic() - start_s:6.1f} s {what}")
