"""Several cards train one run: a process for each card, of which this one is the first.

Part of `train`. What torchrun does, without its agent: that ends with exit codes of its own, and
ours decide whether a Job tries again. A stop needs no passing on: the processes agree on it between
two steps (tuning/training/callbacks.py).
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tuning import lastwords
from tuning import run as runs
from tuning.failure import Kind
from tuning.run import Run

_GRACE_S = 60.0
"""For the others to notice that one has failed: longer, and they wait for it in a collective call
that no exception ends."""
_SOON_S = 10.0
_WORLD = "WORLD_SIZE"
_ENDS_WELL = (0, Kind.INTERRUPTED.exit_code)

Process = subprocess.Popen[bytes]


@contextlib.contextmanager
def together(run: Run, count: int, grace_s: float = _GRACE_S) -> Iterator[None]:
    """Inside the block this process is the first of `count` that train `run`.

    When another fails and this one has not ended `grace_s` later, the process ends with the other's
    exit code and last words. Nothing happens for one card, or in one process of many.
    """
    if count < 2 or _WORLD in os.environ:
        yield
        return
    over = threading.Event()
    with (
        tempfile.TemporaryDirectory(prefix="tunery-ranks-") as folder,
        _environment(count) as shared,
    ):
        others = [
            _start(run, Path(folder), {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(1, count)
        ]
        for rank, other in enumerate(others, start=1):
            message = Path(folder) / str(rank)
            threading.Thread(
                target=_watch, args=(run, other, message, others, over, grace_s), daemon=True
            ).start()
        try:
            yield
        except BaseException:
            over.set()
            _leave(others, _SOON_S)
            raise
        over.set()
        _leave(others, grace_s)


@contextlib.contextmanager
def _environment(count: int) -> Iterator[dict[str, str]]:
    """What torch's rendezvous reads, in this process as its first."""
    shared = {_WORLD: str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    own = {**shared, "RANK": "0", "LOCAL_RANK": "0"}
    os.environ.update(own)
    try:
        yield shared
    finally:
        for name in own:
            os.environ.pop(name, None)


def _start(run: Run, folder: Path, environment: Mapping[str, str]) -> Process:
    """One of the others: the same run, with a termination message of its own."""
    rank = environment["RANK"]
    message = folder / rank
    message.touch()
    places = run.places.model_copy(update={"termination_log": str(message)})
    file = folder / f"{rank}.json"
    runs.write(run.model_copy(update={"places": places}), file)
    command = [sys.executable, "-m", "tuning", "train", str(file)]
    return subprocess.Popen(command, env={**os.environ, **environment})


def _watch(
    run: Run,
    other: Process,
    message: Path,
    others: Sequence[Process],
    over: threading.Event,
    grace_s: float,
) -> None:
    """Runs in a thread for each of the others, until it ends."""
    code = other.wait()
    if code in _ENDS_WELL or over.wait(grace_s):
        return
    told = lastwords.path_of(run.places.termination_log)
    if told is not None:
        with contextlib.suppress(OSError):
            told.write_bytes(message.read_bytes())
    for process in others:
        process.kill()
    # The main thread hangs in a call of CUDA's or of the network's; no exception reaches it.
    os._exit(code if code > 0 else 128 - code)


def _leave(others: Sequence[Process], patience_s: float) -> None:
    """Wait for their end, or bring it about: without this one they can do nothing."""
    for other in others:
        try:
            other.wait(patience_s)
        except subprocess.TimeoutExpired:
            other.kill()
            other.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
