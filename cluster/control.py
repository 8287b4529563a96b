"""A cluster that runs: talk to its API, restart its daemons, wait for them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cluster import machine, processes
from cluster.build import program
from cluster.commands import run
from cluster.daemons import Daemon, all_daemons
from cluster.layout import Layout
from cluster.trouble import CommandFailed, Trouble


def daemons(layout: Layout) -> Mapping[str, Daemon]:
    """Every daemon of this layout."""
    return all_daemons(layout, partial(program, layout))


def kubectl(layout: Layout, pid: int, *argv: str, stdin: str | None = None) -> str:
    """Run kubectl as administrator inside the machine. Every call has a limit."""
    command = [
        program(layout, "kubectl"),
        f"--kubeconfig={layout.kubeconfig}",
        "--request-timeout=20s",
        *argv,
    ]
    return run(machine.inside(pid, command), stdin=stdin, timeout_s=120)


def restart(layout: Layout, pid: int, name: str, limit_s: float = 70) -> None:
    """Stop a daemon, wait for its end (SIGKILL after `limit_s`), start it again."""
    processes.stop(layout, pid, name, limit_s)
    processes.start(layout, pid, daemons(layout)[name])


def wait_for_api(layout: Layout, pid: int, limit_s: float = 90) -> None:
    """Wait until the API server says that it is ready, or one of its programs ends."""
    deadline_s = time.monotonic() + limit_s
    while True:
        try:
            kubectl(layout, pid, "get", "--raw=/readyz")
            return
        except CommandFailed as error:
            for name in ("etcd", "kube-apiserver"):
                if processes.host_pid(layout, pid, name) is None:
                    raise Trouble(f"{name} has ended: {tail(layout, name)}") from error
            if time.monotonic() > deadline_s:
                raise
        time.sleep(0.2)  # nothing tells when a server begins to listen


def wait_for_crds(layout: Layout, pid: int, limit_s: float = 30) -> None:
    """Wait until all CRDs are served. `kubectl wait` gives up on one that has no status yet."""
    deadline_s = time.monotonic() + limit_s
    while True:
        try:
            limit = f"--timeout={limit_s:.0f}s"
            kubectl(layout, pid, "wait", "--for=condition=Established", "crd", "--all", limit)
            return
        except CommandFailed as error:
            if "accessor error" not in str(error) or time.monotonic() > deadline_s:
                raise
        time.sleep(0.2)  # it is kubectl itself that does not wait for this


def wait_for_containerd(layout: Layout, pid: int, limit_s: float = 30) -> None:
    """Wait until it listens, or ends."""
    deadline_s = time.monotonic() + limit_s
    socket = Path(f"/proc/{pid}/root/run/containerd/containerd.sock")
    while not socket.exists():
        if processes.host_pid(layout, pid, "containerd") is None or time.monotonic() > deadline_s:
            raise Trouble(f"containerd did not start: {tail(layout, 'containerd')}")
        time.sleep(0.05)  # nothing tells when a server begins to listen


def tail(layout: Layout, name: str, lines: int = 5) -> str:
    """The last lines of a daemon's log."""
    log = layout.logs / f"{name}.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n    ".join(["", *text.splitlines()[-lines:]])
