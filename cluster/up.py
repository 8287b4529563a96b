"""The recipe, read top to bottom: a bare machine in, a node that is Ready out. And its end."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import presets
from cluster import (
    config,
    front,
    gpus,
    images,
    machine,
    pki,
    preflight,
    processes,
    simulated,
    store,
)
from cluster.addresses import NODE
from cluster.build import build, missing, program
from cluster.control import (
    daemons,
    kubectl,
    restart,
    wait_for_api,
    wait_for_containerd,
    wait_for_crds,
)
from cluster.layout import Layout
from cluster.parts import CORE
from cluster.progress import say, step

SIMULATED = ("karpenter", "kwok")
MANIFESTS = Path(__file__).parent / "manifests"


@dataclass(frozen=True)
class Options:
    """What a cluster may have beside its one node."""

    gpus: int = 0
    """nvidia.com/gpu that the node offers; no device is behind them."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Put on the node, over what it has."""
    karpenter: bool = False
    """NodeClaims get nodes, simulated ones."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What must be built for it."""
        plugin = (gpus.PLUGIN,) if self.gpus else ()
        return (*CORE, *plugin, *(SIMULATED if self.karpenter else ()))


def up(layout: Layout, options: Options | None = None) -> int:
    """Build what is missing, start what does not run, wait until the node is Ready; the host pid
    of the machine's process 1.

    Raises:
        Trouble: with every cause, when the machine lacks something or a program ends early.
    """
    wish = options or Options()
    preflight.check(layout, building=bool(missing(layout, wish.parts)))
    build(layout, wish.parts)
    archive = images.busybox(layout)
    pid = machine.find(layout)
    if pid is None or not _whole(layout, pid):
        pid = made_anew(layout)
        _start(layout, pid, archive)
    if wish.gpus:
        gpus.offer(layout, pid, wish.gpus)
    if wish.labels:
        labels = [f"{key}={value}" for key, value in wish.labels.items()]
        kubectl(layout, pid, "label", "node", NODE, "--overwrite", *labels)
    if wish.karpenter:
        with step("start kwok and Karpenter"):
            _start_simulated(layout, pid)
    say(f"ready; kubectl: python -m cluster exec kubectl get nodes; KUBECONFIG={layout.kubeconfig}")
    return pid


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


def made_anew(layout: Layout) -> int:
    """A machine on which nothing runs yet, with fresh keys; what was there before is gone."""
    machine.destroy(layout)
    with step("make the machine, keys and configuration"), store.claimed(layout) as kept:
        write_files(layout)
        machine.make_cgroups(layout)
        return machine.create(layout, kept)


def _start(layout: Layout, pid: int, archive: Path) -> None:
    listed = daemons(layout)
    with step("start containerd, etcd, the API server and what needs no API"):
        for name in ("containerd", "etcd", "kube-apiserver", "registry", "nginx"):
            processes.start(layout, pid, listed[name])
        wait_for_containerd(layout, pid)
        store.load(layout, pid, str(archive))
        store.forget_images(layout, pid)
        if store.forget_containers(layout, pid):
            restart(layout, pid, "containerd")
            wait_for_containerd(layout, pid)
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
    wait_for_crds(layout, pid)
    kubectl(layout, pid, "apply", "-f", "-", stdin=simulated.objects())
    for daemon in simulated.daemons(layout, partial(program, layout)):
        processes.start(layout, pid, daemon)


def _whole(layout: Layout, pid: int) -> bool:
    """Whether every daemon runs; a machine whose `up` was cut off is made anew."""
    started = (layout.pids / "kubelet").exists()
    return started and all(processes.host_pid(layout, pid, n) for n in daemons(layout))
