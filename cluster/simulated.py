"""Nodes that cost nothing: Karpenter answers NodeClaims with our instance types, kwok lets the
nodes it makes look alive. For tests of provisioning, capacity and release: no pod really runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cluster.build import folder_of
from cluster.daemons import Daemon, Find
from cluster.layout import Layout
from presets import Gpu

NAMESPACE = "karpenter"
ZONE = "zone-1"
# What one card brings along; no test depends on more than that it is enough.
_CPUS, _MEMORY_GIB, _DISK_GIB = 24, 220, 2048
_STAGES = ("node-initialize", "node-heartbeat", "pod-complete", "pod-delete", "pod-ready")


def instance_types(gpus: Iterable[Gpu]) -> str:
    """Karpenter's file of what can be launched: one on-demand offering of each of our SKUs."""
    return json.dumps([_instance_type(gpu) for gpu in gpus], indent=1) + "\n"


def crds(layout: Layout) -> list[Path]:
    """The manifests of NodeClaim, NodePool and KWOKNodeClass."""
    return sorted((folder_of(layout, "karpenter") / "share").glob("karpenter*.yaml"))


def objects() -> str:
    """What both programs need in the cluster: a namespace, rights, and the default node class."""
    subjects = [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"system:{name}"}
        for name in ("karpenter", "kwok")
    ]
    admin = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "tunery:simulated-nodes"},
            "roleRef": {**admin, "name": "cluster-admin"},
            "subjects": subjects,
        },
        {
            "apiVersion": "karpenter.kwok.sh/v1alpha1",
            "kind": "KWOKNodeClass",
            "metadata": {"name": "default"},
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def daemons(layout: Layout, find: Find) -> list[Daemon]:
    """kwok and Karpenter as command lines."""
    share = folder_of(layout, "kwok") / "share"
    settings = {
        "KUBECONFIG": layout.etc / "karpenter.kubeconfig",
        "SYSTEM_NAMESPACE": NAMESPACE,
        "DISABLE_LEADER_ELECTION": "true",
        "KUBERNETES_MIN_VERSION": "1.19.0-0",
        "INSTANCE_TYPES_FILE_PATH": layout.etc / "instance-types.json",
        "METRICS_PORT": 8190,
        "HEALTH_PROBE_PORT": 8191,
    }
    kwok = [
        find("kwok"),
        f"--kubeconfig={layout.etc / 'kwok.kubeconfig'}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        *(f"--config={share / stage}.yaml" for stage in _STAGES),
    ]
    environment = [f"{name}={value}" for name, value in settings.items()]
    return [Daemon("kwok", kwok), Daemon("karpenter", ["env", *environment, find("karpenter")])]


def _instance_type(gpu: Gpu) -> dict[str, Any]:
    resources = {
        "cpu": str(_CPUS * gpu.count),
        "memory": f"{_MEMORY_GIB * gpu.count}Gi",
        "ephemeral-storage": f"{_DISK_GIB}Gi",
        "pods": "110",
    }
    if gpu.cuda:
        resources["nvidia.com/gpu"] = str(gpu.count)
    return {
        "name": gpu.sku,
        "architecture": "amd64",
        "operatingSystems": ["linux"],
        "resources": resources,
        "offerings": [
            {
                "Price": gpu.price_usd_per_hour or float(gpu.count),
                "Available": True,
                "Requirements": [
                    _is("karpenter.sh/capacity-type", "on-demand"),
                    _is("topology.kubernetes.io/zone", ZONE),
                ],
            }
        ],
    }


def _is(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": [value]}
