"""What every pod of ours has: Pod Security "restricted", and where it may be scheduled.

Used by the pods that tune (jobs/pod.py) and those that serve (jobs/serving/pod.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.quantity import quantity

GPU = "nvidia.com/gpu"
UID = 10001

Object = dict[str, Any]

# sku=gpu: KAITO's own provisioners. `gpu` and nvidia.com/gpu: what clouds and people put on GPU
# nodes, with any value. Spot: Azure's taint. Without an effect they hold for each.
_TOLERATIONS: Sequence[Object] = (
    {"key": "sku", "operator": "Equal", "value": "gpu"},
    {"key": "gpu", "operator": "Exists"},
    {"key": GPU, "operator": "Exists"},
    {"key": "kubernetes.azure.com/scalesetpriority", "operator": "Equal", "value": "spot"},
)


def pod_security() -> Object:
    """`securityContext` of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        # Claims made for this pod, and Secrets, are readable by its group.
        "fsGroup": UID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Object:
    """`securityContext` of each of its containers."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def tolerations() -> list[Object]:
    """Of the taints that GPU nodes carry."""
    return [dict(toleration) for toleration in _TOLERATIONS]


def cores(cards: int, limit: str) -> str:
    """The CPU request: a core for each card's process. More is a limit's, not what a node must have
    free; less only if the limit is less."""
    least = max(cards, 1)
    return limit if limit and quantity(limit) < least else str(least)


def affinity(node_labels: Mapping[str, str]) -> Object:
    """`affinity`, as a part of a pod's spec: nodes with these labels, whatever else they have."""
    wanted = [
        {"key": key, "operator": "In", "values": [value]}
        for key, value in sorted(node_labels.items())
    ]
    if not wanted:
        return {}
    terms = {"nodeSelectorTerms": [{"matchExpressions": wanted}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}
