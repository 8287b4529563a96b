"""The recipe, read top to bottom: a bare machine in, a node that is Ready out. And its end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import presets
from cluster import config, front, images, machine, pki, preflight, processes, simulated
from cluster.addresses import NODE
from cluster.build import build, missing, program
from cluster.commands import run
from cluster.daemons import Daemon, all_daemons
from cluster.layout import Layout
from cluster.parts import CORE
from cluster.progress import say, step
from cluster.trouble import CommandFailed, Trouble

SIMULATED = ("karpenter", "kwok")
MANIFESTS = Path(__file__).parent / "manifests"


def up(layout: Layout, gpus: int = 0, karpenter: bool = False) -> None:
    """Build what is missing, start what does not run, wait until the node is Ready.

    `gpus` is what the node offers as nvidia.com/gpu; with `karpenter`, NodeClaims get nodes.

    Raises:
        Trouble: with every cause, when the machine lacks something or a program ends early.
    """
    wanted = (*CORE, *(SIMULATED if karpenter else ()))
    preflight.check(layout, building=bool(missing(layout, wanted)))
    build(layout, wanted)
    archive = images.busybox(layout)
    pid = machine.find(layout)
    if pid is None or not _whole(layout, pid):
        machine.destroy(layout)
        with step("make the machine, keys and configuration"):
            write_files(layout)
            machine.make_cgroups(layout)
            pid = machine.create(layout)
        _start(layout, pid, archive)
    if gpus:
        set_gpus(layout, pid, gpus)
    if karpenter:
        with step("start kwok and Karpenter"):
            _start_simulated(layout, pid)
    say(f"ready; kubectl: python -m cluster exec kubectl get nodes; KUBECONFIG={layout.kubeconfig}")


def down(layout: Layout) -> None:
    """Kill every process of the cluster and remove everything that it wrote."""
    with step("stop and remove the cluster"):
        machine.destroy(layout)


def write_files(layout: Layout) -> None:
    """Keys, configuration and passwords, new for each cluster."""
    pki.write_all(layout.pki)
    passwords = {user: secrets.token_urlsafe(12) for user in (front.PUSHER, front.PULLER)}
    certificates = layout.etc / "certs"
    texts = {
        **config.files(layout, program(layout, "runc")),
        layout.etc / "nginx.conf": front.nginx(layout),
        layout.etc / "registry.json": front.registry_config(),
        layout.etc / "registry" / "htpasswd": front.htpasswd(passwords),
        **{layout.docker_config(u): front.docker_config(u, p) for u, p in passwords.items()},
        certificates / "ca.crt": layout.registry_ca.read_text(),
    }
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    layout.web.mkdir(parents=True, exist_ok=True)


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


def set_gpus(layout: Layout, pid: int, count: int) -> None:
    """Let the node offer `nvidia.com/gpu`: COUNT (0 takes it away). Nothing else behaves like a
    GPU. The kubelet forgets it when its node is made anew, so this follows every start."""
    amount = {"nvidia.com/gpu": str(count) if count else None}
    patch = config.to_json({"status": {"capacity": amount, "allocatable": amount}})
    with step(f"offer {count} nvidia.com/gpu on {NODE}"):
        kubectl(
            layout, pid, "patch", "node", NODE, "--subresource=status", "--type=merge", "-p", patch
        )


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


def tail(layout: Layout, name: str, lines: int = 5) -> str:
    """The last lines of a daemon's log."""
    log = layout.logs / f"{name}.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n    ".join(["", *text.splitlines()[-lines:]])


def _start(layout: Layout, pid: int, archive: Path) -> None:
    listed = daemons(layout)
    with step("start containerd, etcd, the API server and what needs no API"):
        for name in ("containerd", "etcd", "kube-apiserver", "registry", "nginx"):
            processes.start(layout, pid, listed[name])
        _wait_for_containerd(layout, pid)
        images.load(layout, pid, archive)
    with step("wait for the API"):
        wait_for_api(layout, pid)
    with step(f"wait for {NODE} to be Ready"):
        for daemon in listed.values():
            processes.start(layout, pid, daemon)
        for manifest in sorted(MANIFESTS.glob("*.yaml")):
            kubectl(layout, pid, "apply", "-f", str(manifest))
        kubectl(layout, pid, "wait", "--for=create", f"node/{NODE}", "--timeout=60s")
        kubectl(layout, pid, "wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s")
        kubectl(layout, pid, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")


def _start_simulated(layout: Layout, pid: int) -> None:
    types = simulated.instance_types(presets.load().gpus)
    (layout.etc / "instance-types.json").write_text(types)
    for path in simulated.crds(layout):
        kubectl(layout, pid, "apply", "--server-side", "-f", str(path))
    kubectl(layout, pid, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    kubectl(layout, pid, "apply", "-f", "-", stdin=simulated.objects())
    for daemon in simulated.daemons(layout, partial(program, layout)):
        processes.start(layout, pid, daemon)


def _wait_for_containerd(layout: Layout, pid: int, limit_s: float = 30) -> None:
    deadline_s = time.monotonic() + limit_s
    socket = Path(f"/proc/{pid}/root/run/containerd/containerd.sock")
    while not socket.exists():
        if processes.host_pid(layout, pid, "containerd") is None or time.monotonic() > deadline_s:
            raise Trouble(f"containerd did not start: {tail(layout, 'containerd')}")
        time.sleep(0.05)  # nothing tells when a server begins to listen


def _whole(layout: Layout, pid: int) -> bool:
    """Whether every daemon runs; a machine whose `up` was cut off is made anew."""
    started = (layout.pids / "kubelet").exists()
    return started and all(processes.host_pid(layout, pid, n) for n in daemons(layout))
