"""The long-running programs of the cluster, as command lines: pure functions of the layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cluster.addresses import API_URL, NODE, NODE_IP, PODS, SERVICES
from cluster.layout import Layout

Find = Callable[[str], str]
"""Name of a binary → its path."""


@dataclass(frozen=True)
class Daemon:
    """One program that runs until it is stopped."""

    name: str
    argv: Sequence[str]


def all_daemons(layout: Layout, find: Find) -> Mapping[str, Daemon]:
    """Every program by name, in the order in which they start."""
    listed = [
        Daemon("containerd", containerd(layout, find)),
        Daemon("etcd", etcd(find)),
        Daemon("kube-apiserver", kube_apiserver(layout, find)),
        Daemon("registry", ["docker-registry", "serve", str(layout.etc / "registry.json")]),
        Daemon("nginx", ["nginx", "-c", str(layout.etc / "nginx.conf")]),
        Daemon("kube-controller-manager", kube_controller_manager(layout, find)),
        Daemon("kube-scheduler", kube_scheduler(layout, find)),
        Daemon("coredns", [find("coredns"), "-conf", str(layout.etc / "Corefile")]),
        Daemon("kube-proxy", kube_proxy(layout, find)),
        Daemon("kubelet", kubelet(layout, find)),
    ]
    return {daemon.name: daemon for daemon in listed}


def containerd(layout: Layout, find: Find) -> list[str]:
    return [find("containerd"), "--config", str(layout.etc / "containerd.toml")]


def etcd(find: Find) -> list[str]:
    """No fsync: its data need not outlive the machine."""
    return [
        find("etcd"),
        "--name=etcd",
        "--data-dir=/var/lib/etcd",
        "--unsafe-no-fsync",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--snapshot-count=10000",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--log-level=warn",
    ]


def kube_apiserver(layout: Layout, find: Find) -> list[str]:
    """Addresses first for the kubelet: its name resolves nowhere, and logs and exec would wait."""
    pki = layout.pki
    return [
        find("kube-apiserver"),
        f"--advertise-address={NODE_IP}",
        f"--bind-address={NODE_IP}",
        "--secure-port=6443",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--anonymous-auth=false",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        "--profiling=false",
        "--shutdown-delay-duration=0s",
    ]


def kube_controller_manager(layout: Layout, find: Find) -> list[str]:
    """A node counts as lost after 12 s (50 s by default): tests of it need not wait so long."""
    config, pki = layout.etc / "kube-controller-manager.kubeconfig", layout.pki
    return [
        find("kube-controller-manager"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        "--controllers=*",
        f"--service-account-private-key-file={pki / 'sa.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        "--node-monitor-grace-period=12s",
        "--node-monitor-period=2s",
        "--profiling=false",
    ]


def kube_scheduler(layout: Layout, find: Find) -> list[str]:
    config = layout.etc / "kube-scheduler.kubeconfig"
    return [
        find("kube-scheduler"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--profiling=false",
    ]


def kube_proxy(layout: Layout, find: Find) -> list[str]:
    """No conntrack settings: they belong to the host's kernel and cannot be written in here."""
    return [
        find("kube-proxy"),
        f"--kubeconfig={layout.etc / 'kube-proxy.kubeconfig'}",
        f"--master={API_URL}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={PODS}",
        f"--hostname-override={NODE}",
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
        "--oom-score-adj=0",
        "--metrics-bind-address=127.0.0.1:10249",
        "--healthz-bind-address=127.0.0.1:10256",
    ]


def kubelet(layout: Layout, find: Find) -> list[str]:
    return [
        find("kubelet"),
        f"--config={layout.etc / 'kubelet.json'}",
        f"--kubeconfig={layout.etc / 'kubelet.kubeconfig'}",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_IP}",
    ]
