"""Whether nodes mount images as volumes: Kubernetes from 1.35 on, with a runtime that can.

KEP-4639: on by default since Kubernetes 1.35; containerd from 2.1, CRI-O from 1.31. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from jobs.seen import Node

_KUBELET = (1, 35)
_RUNTIMES = {"containerd": (2, 1), "cri-o": (1, 31)}


def image_volumes(choice: Literal["auto", "always", "never"], nodes: Sequence[Node]) -> bool:
    """As the installation says, else as every one of `nodes` can; none known is none that can."""
    if choice == "auto":
        return bool(nodes) and all(map(_can, nodes))
    return choice == "always"


def _can(node: Node) -> bool:
    name, _, version = node.runtime.partition("://")
    needed = _RUNTIMES.get(name)
    return needed is not None and _number(node.kubelet) >= _KUBELET and _number(version) >= needed


def _number(version: str) -> tuple[int, ...]:
    """`v1.36.3-gke.1` → (1, 36); empty, which is less than any, for what is no version."""
    match = re.match(r"v?([0-9]{1,6})\.([0-9]{1,6})", version)
    return (int(match[1]), int(match[2])) if match else ()
