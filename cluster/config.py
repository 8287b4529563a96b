"""Configuration files of the node's programs, as text: pure functions of the layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.addresses import (
    API_URL,
    BRIDGE,
    DATA,
    DNS_IP,
    DOMAIN,
    NODE,
    NODE_IP,
    PODS,
    REGISTRY,
)
from cluster.layout import Layout

PAUSE_IMAGE = "localhost/tunery/busybox:1"
USERS_OF_API = (
    "admin",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "coredns",
    "kubelet",
    "karpenter",
    "kwok",
)


def files(layout: Layout, runc: str) -> Mapping[Path, str]:
    """Every file that the node's programs read, by its path."""
    etc = layout.etc
    kubeconfigs = {etc / f"{user}.kubeconfig": kubeconfig(layout, user) for user in USERS_OF_API}
    return {
        **kubeconfigs,
        etc / "hosts": hosts(),
        etc / "resolv.conf": resolv_conf(),
        etc / "containerd.toml": containerd(layout, runc),
        etc / "cni" / "10-tunery.conflist": cni(),
        etc / "certs.d" / REGISTRY / "hosts.toml": registry_hosts(layout),
        etc / "kubelet.json": kubelet(layout),
        etc / "Corefile": corefile(layout),
    }


def hosts() -> str:
    return f"127.0.0.1 localhost\n{NODE_IP} {NODE} {REGISTRY} {DATA}\n"


def resolv_conf() -> str:
    return f"nameserver {DNS_IP}\nsearch svc.{DOMAIN} {DOMAIN}\noptions ndots:5\n"


def kubeconfig(layout: Layout, user: str) -> str:
    """A kubeconfig with paths, so that keys stay in one place."""
    pki = layout.pki
    cluster = {"server": API_URL, "certificate-authority": str(pki / "ca.crt")}
    credentials = {
        "client-certificate": str(pki / f"{user}.crt"),
        "client-key": str(pki / f"{user}.key"),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tunery", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "tunery", "context": {"cluster": "tunery", "user": user}}],
        "current-context": "tunery",
    }
    return to_json(config)


def containerd(layout: Layout, runc: str) -> str:
    """restrict_oom_score_adj: without CAP_SYS_RESOURCE no sandbox would start otherwise."""
    return f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.nri.v1.nri",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = "{layout.etc / "certs.d"}"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{layout.etc / "cni"}"
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"""


def registry_hosts(layout: Layout) -> str:
    """containerd trusts the registry's own CA for this host, read at each pull."""
    return (
        f'server = "https://{REGISTRY}"\n'
        f'capabilities = ["pull", "resolve"]\n'
        f'ca = "{layout.registry_ca}"\n'
    )


def cni() -> str:
    """One bridge, no masquerade: pods reach each other and the node, and nothing else."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": PODS, "rangeStart": "10.88.1.1"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return to_json({"cniVersion": "1.0.0", "name": "tunery", "plugins": [bridge, portmap]})


def kubelet(layout: Layout) -> str:
    """KubeletConfiguration; each unusual value closes a trap of a small, shared machine."""
    pki = layout.pki
    return to_json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_IP,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki / "kubelet-server.crt"),
            "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{layout.cgroup}",
            "failCgroupV1": False,
            "clusterDNS": [DNS_IP],
            "clusterDomain": DOMAIN,
            "resolvConf": "/etc/resolv.conf",
            "failSwapOn": False,
            # The disk is shared with everything else on the machine: neither evict nor collect
            # images because somebody else filled it.
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "100Mi",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "100Mi",
            },
            "imageGCHighThresholdPercent": 100,
            "serializeImagePulls": False,
            "registryPullQPS": 0,
            "oomScoreAdj": 0,
            # A lost node shows after 12 s; it is back within a few, too. A change of its status is
            # told within a second, and none costs nothing.
            "nodeLeaseDurationSeconds": 12,
            "nodeStatusUpdateFrequency": "1s",
            "nodeStatusReportFrequency": "5m",
            "shutdownGracePeriod": "0s",
            "enableDebuggingHandlers": True,
        }
    )


def corefile(layout: Layout) -> str:
    """DNS for pods and for processes of the machine: Services, then the two hosts beside it."""
    return f"""{DOMAIN}:53 in-addr.arpa:53 {{
    bind {DNS_IP}
    errors
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {layout.etc / "coredns.kubeconfig"}
        pods insecure
        fallthrough in-addr.arpa
        ttl 5
    }}
}}
tunery.test:53 {{
    bind {DNS_IP}
    errors
    hosts {{
        {NODE_IP} {REGISTRY} {DATA}
    }}
}}
.:53 {{
    bind {DNS_IP}
    errors
    ready {NODE_IP}:8181
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def to_json(value: Mapping[str, Any]) -> str:
    """`value` as JSON, which is YAML too."""
    return json.dumps(value, indent=1) + "\n"
