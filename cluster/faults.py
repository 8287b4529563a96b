"""Everything that goes wrong with a real cluster, on order. Used by tests, one line each."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import gpus, machine, processes
from cluster.addresses import NODE
from cluster.build import program
from cluster.commands import run
from cluster.control import daemons, kubectl, restart, wait_for_api
from cluster.layout import Layout


def kill_container(layout: Layout, pid: int, container_id: str) -> None:
    """SIGKILL for the first process of a container: its id as in the pod's status."""
    name = container_id.removeprefix("containerd://")
    argv = [program(layout, "ctr"), "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", name]
    run(machine.inside(pid, argv))


def evict(layout: Layout, pid: int, namespace: str, pod: str) -> None:
    """Through the Eviction API, as a drain or an autoscaler does."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    }
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    kubectl(layout, pid, "create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


@contextmanager
def drained(layout: Layout, pid: int) -> Iterator[None]:
    """The node emptied and cordoned; afterwards it takes pods again."""
    kubectl(
        layout,
        pid,
        "drain",
        NODE,
        "--force",
        "--delete-emptydir-data",
        "--ignore-daemonsets",
        "--timeout=60s",
    )
    try:
        yield
    finally:
        kubectl(layout, pid, "uncordon", NODE)


@contextmanager
def without_kubelet(layout: Layout, pid: int) -> Iterator[None]:
    """The kubelet frozen: the node looks lost, its pods run on unseen. Afterwards it is back."""
    processes.send(layout, pid, "kubelet", signal.SIGSTOP)
    try:
        yield
    finally:
        processes.send(layout, pid, "kubelet", signal.SIGCONT)


def restart_api_server(layout: Layout, pid: int) -> None:
    """Stop it, start it, wait until it is ready. Watches break, tokens hold. It would drain for a
    minute while clients watch, so it is killed almost at once, as by a crash."""
    restart(layout, pid, "kube-apiserver", limit_s=0.2)
    wait_for_api(layout, pid)


@contextmanager
def without_registry(layout: Layout, pid: int) -> Iterator[None]:
    """The registry down (502 from the front before it); afterwards up with what it stored."""
    processes.stop(layout, pid, "registry")
    try:
        yield
    finally:
        processes.start(layout, pid, daemons(layout)["registry"])


@contextmanager
def small_disk(pid: int, size_bytes: int, name: str = "small-disk") -> Iterator[Path]:
    """A file system of this size on the node, as a path for a hostPath volume or a
    PersistentVolume. Whoever writes more gets ENOSPC."""
    path = Path("/var/lib") / name
    options = f"size={size_bytes},mode=777"
    run(machine.inside(pid, ["mkdir", "-p", str(path)]))
    run(machine.inside(pid, ["mount", "-t", "tmpfs", "-o", options, name, str(path)]))
    try:
        yield path
    finally:
        run(machine.inside(pid, ["umount", "-l", str(path)]))


@contextmanager
def without_gpus(layout: Layout, pid: int, count: int) -> Iterator[None]:
    """The node offers no GPU; afterwards COUNT again."""
    gpus.take_away(layout, pid)
    try:
        yield
    finally:
        gpus.offer(layout, pid, count)
