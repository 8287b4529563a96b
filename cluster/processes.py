"""Starting and stopping the daemons inside the machine, one by one, by pid and never by name."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from cluster.commands import run
from cluster.daemons import Daemon
from cluster.layout import Layout
from cluster.machine import inside, kill_and_wait

# $1 is the log, $2 the pid file. The daemon becomes a child of the machine's process 1.
# A bare environment: no proxy or certificate setting of ours may reach it.
_START = (
    "log=$1 pid=$2; shift 2; "
    'setsid env -i PATH="$PATH" HOME=/root "$@" </dev/null >>"$log" 2>&1 & echo $! >"$pid"'
)


def start(layout: Layout, machine: int, daemon: Daemon) -> None:
    """Start `daemon` unless it runs. Its output goes to logs/NAME.log."""
    if host_pid(layout, machine, daemon.name) is not None:
        return
    layout.logs.mkdir(parents=True, exist_ok=True)
    layout.pids.mkdir(parents=True, exist_ok=True)
    files = [str(layout.logs / f"{daemon.name}.log"), str(layout.pids / daemon.name)]
    run(inside(machine, ["sh", "-c", _START, "sh", *files, *daemon.argv]))


def stop(layout: Layout, machine: int, name: str, limit_s: float = 70) -> None:
    """SIGTERM, wait, then SIGKILL. The API server drains for up to a minute; it must have ended
    before it may start again, else every call hangs."""
    pid = host_pid(layout, machine, name)
    if pid is not None and not kill_and_wait(pid, signal.SIGTERM, limit_s):
        kill_and_wait(pid, signal.SIGKILL, limit_s)
    (layout.pids / name).unlink(missing_ok=True)


def send(layout: Layout, machine: int, name: str, number: signal.Signals) -> None:
    """Send a signal to a daemon that runs (SIGSTOP, SIGCONT, …)."""
    pid = host_pid(layout, machine, name)
    if pid is None:
        raise ProcessLookupError(name)
    os.kill(pid, number)


def host_pid(layout: Layout, machine: int, name: str) -> int | None:
    """The daemon's pid as the host sees it, or None when it does not run."""
    try:
        inner = (layout.pids / name).read_text().strip()
    except FileNotFoundError:
        return None
    for pid in processes(machine):
        if _inner_pid(pid) == inner:
            return pid
    return None


def runs(layout: Layout, machine: int, daemon: Daemon) -> bool:
    """Whether the daemon runs, with just this command line."""
    pid = host_pid(layout, machine, daemon.name)
    if pid is None:
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:  # it has just ended
        return False
    return words == [word.encode() for word in daemon.argv]


def processes(machine: int) -> list[int]:
    """Host pids of every live process of the machine, process 1 included."""
    space = os.readlink(f"/proc/{machine}/ns/pid")
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                if os.readlink(folder / "ns" / "pid") == space:
                    found.append(int(folder.name))
    return found


def _inner_pid(pid: int) -> str:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return ""
    fields = next((line for line in lines if line.startswith("NSpid:")), "").split()
    return fields[-1] if fields else ""
