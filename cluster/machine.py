"""The machine that the cluster runs on: one set of namespaces, made and unmade as a whole.

Network, mounts, processes and host name are its own; /var and /run inside belong to the state
folder. So the host is untouched, nothing collides, no packet leaves, and killing process 1 ends
every process, mount and interface at once. Only cgroups and the state folder need removing.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.addresses import BRIDGE, NODE, NODE_IP, SERVICES
from cluster.commands import run
from cluster.layout import Layout
from cluster.trouble import Trouble

_PID1 = Path(__file__).with_name("pid1.py")
_CGROUPS = Path("/sys/fs/cgroup")
_VAR = ("cache", "lib", "lib/containerd", "lib/nginx", "log", "log/nginx", "tmp")


def find(layout: Layout) -> int | None:
    """Host pid of the machine's process 1, or None when there is no machine."""
    pids = [pid for pid in _processes_of(layout) if _is_first_of_namespace(pid)]
    return pids[0] if pids else None


def create(layout: Layout, store: int | None = None) -> int:
    """Make the namespaces and set them up; returns the host pid of process 1. It inherits the
    descriptor `store`, which holds the kept images (store.py) as long as it lives."""
    for name in _VAR:
        (layout.var / name).mkdir(parents=True, exist_ok=True)
    layout.logs.mkdir(parents=True, exist_ok=True)
    _start_first_process(layout, () if store is None else (store,))
    pid = find(layout)
    if pid is None:
        raise Trouble(f"no namespaces could be made: {_log(layout).read_text().strip()}")
    for command in setup_commands(layout, kept=store is not None):
        run(inside(pid, command))
    return pid


def _start_first_process(layout: Layout, inherited: tuple[int, ...]) -> None:
    """Returns once process 1 is ready, or has ended."""
    ready, told = os.pipe()
    argv = [
        *("setsid", "--fork", "unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork"),
        *("--mount-proc", "--propagation", "private", sys.executable, "-I", "-S"),
        *(str(_PID1), str(layout.state), str(told)),
    ]
    with os.fdopen(ready) as pipe, _log(layout).open("w") as log:
        nothing = subprocess.DEVNULL
        passed = (told, *inherited)
        subprocess.run(
            argv, stdin=nothing, stdout=log, stderr=log, pass_fds=passed, cwd="/", check=True
        )
        os.close(told)
        pipe.readline()


def _log(layout: Layout) -> Path:
    return layout.logs / "machine.log"


def setup_commands(layout: Layout, *, kept: bool) -> list[list[str]]:
    """What makes a node of bare namespaces: mounts, host name, loopback, bridge, routes. With the
    images that were `kept`, or none."""
    etc, bind = layout.etc, ["mount", "--bind"]
    shell = (
        "echo 1 > /proc/sys/net/ipv4/ip_forward; "
        "for f in /proc/sys/net/bridge/bridge-nf-call-iptables; do "
        "if [ -e $f ]; then echo 1 > $f; fi; done"
    )
    return [
        ["mount", "--make-rshared", "/"],
        *([[*bind, str(layout.store), str(layout.var / "lib/containerd")]] if kept else []),
        ["mount", "--rbind", str(layout.var), "/var"],
        ["mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run"],
        ["mkdir", "-p", "/run/lock", "/run/containerd"],
        [*bind, str(etc / "hosts"), "/etc/hosts"],
        [*bind, str(etc / "resolv.conf"), "/etc/resolv.conf"],
        ["hostname", NODE],
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "add", BRIDGE, "type", "bridge"],
        ["ip", "addr", "add", f"{NODE_IP}/16", "dev", BRIDGE],
        ["ip", "link", "set", BRIDGE, "up"],
        ["ip", "route", "add", SERVICES, "dev", BRIDGE],
        ["sh", "-c", shell],
    ]


def inside(pid: int, argv: Sequence[str], cwd: Path | None = None) -> list[str]:
    """`argv` as a command that runs inside the machine whose process 1 has this host pid."""
    enter = ["nsenter", f"--target={pid}", "--net", "--mount", "--pid", "--uts", "--ipc", "--"]
    return [*enter, "env", "-C", str(cwd or "/"), *argv]


def destroy(layout: Layout, limit_s: float = 30) -> None:
    """Kill the machine and remove what is left of it. Does nothing when there is none."""
    for pid in _processes_of(layout):
        kill_and_wait(pid, signal.SIGKILL, limit_s)
    remove_cgroups(layout, limit_s)
    if layout.state.exists():
        shutil.rmtree(layout.state)


def make_cgroups(layout: Layout) -> None:
    """The cgroup below which all pods live, in each hierarchy (v1) or the only one (v2)."""
    for parent in _hierarchies():
        (parent / layout.cgroup).mkdir(exist_ok=True)


def remove_cgroups(layout: Layout, limit_s: float = 30) -> None:
    """Remove our cgroups, deepest first. The kernel may need a moment after the last process."""
    deadline_s = time.monotonic() + limit_s
    for parent in _hierarchies():
        root = parent / layout.cgroup
        for folder in sorted((p for p in root.glob("**/") if p.is_dir()), reverse=True):
            _remove_cgroup(folder, deadline_s)


def _remove_cgroup(folder: Path, deadline_s: float) -> None:
    while folder.exists():
        try:
            folder.rmdir()
        except OSError as error:
            if time.monotonic() > deadline_s:
                raise Trouble(f"{folder} cannot be removed: {error.strerror}") from error
            time.sleep(0.02)  # no event tells that a cgroup has become empty in v1


def _hierarchies() -> list[Path]:
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [p for p in _CGROUPS.iterdir() if p.is_dir() and not p.is_symlink()]


def kill_and_wait(pid: int, number: signal.Signals, limit_s: float) -> bool:
    """Signal a process of the host and wait for its end; whether it ended in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(handle, number)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(limit_s * 1000))
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)


def _processes_of(layout: Layout) -> list[int]:
    """Process 1 and the unshare that waits for it, by their arguments."""
    found = []
    for folder in Path("/proc").iterdir():
        script, state = [*_arguments(folder)[-3:-1], b"", b""][:2]
        # Of whichever checkout started it: the state folder is what makes it this cluster.
        ours = Path(os.fsdecode(script)).name == _PID1.name and state == bytes(layout.state)
        if folder.name.isdigit() and ours:
            found.append(int(folder.name))
    return sorted(found, reverse=True)


def _arguments(folder: Path) -> list[bytes]:
    try:
        return (folder / "cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:  # it has just ended
        return []


def _is_first_of_namespace(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = next((line for line in status.splitlines() if line.startswith("NSpid:")), "").split()
    return len(numbers) > 2 and numbers[-1] == "1"
