"""GPUs that are not there, offered by a device plugin as real ones are (go/gpus/main.go).

So they are back by themselves after the kubelet was restarted or its node made anew, and pods that
had one keep it.
"""

from __future__ import annotations

from cluster import processes
from cluster.addresses import NODE
from cluster.build import program
from cluster.control import kubectl
from cluster.daemons import Daemon
from cluster.layout import Layout
from cluster.progress import step

PLUGIN = "gpus"
RESOURCE = "nvidia.com/gpu"


def offer(layout: Layout, pid: int, count: int) -> None:
    """Let the node offer COUNT GPUs; returns when its status says so."""
    daemon = Daemon(PLUGIN, [program(layout, PLUGIN), f"-count={count}"])
    with step(f"offer {count} {RESOURCE} on {NODE}"):
        if not processes.runs(layout, pid, daemon):
            processes.stop(layout, pid, PLUGIN)
            processes.start(layout, pid, daemon)
        wait_until_offered(layout, pid, count)


def take_away(layout: Layout, pid: int) -> None:
    """The GPUs fail, all of them: their pods run on, and no new one gets any."""
    processes.stop(layout, pid, PLUGIN)
    wait_until_offered(layout, pid, 0)


def wait_until_offered(layout: Layout, pid: int, count: int) -> None:
    """Wait until the node's status offers COUNT."""
    path = "{.status.allocatable." + RESOURCE.replace(".", r"\.") + "}"
    condition = f"--for=jsonpath={path}={count}"
    kubectl(layout, pid, "wait", f"node/{NODE}", condition, "--timeout=60s")
