"""Which nodes a Workspace may use, whether they are ready, and which card to plan for.

Third step of deciding, after reading and validating. Nodes are brought by somebody else: by an
administrator, or by whatever watches for pods that wait (Karpenter, a cluster autoscaler).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from jobs.facts import NodesVerdict
from jobs.installation import Installation
from jobs.seen import Node
from jobs.selector import usable
from jobs.workspace import Workspace
from presets import Catalog, Gpu

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
# Labels of NVIDIA's GPU feature discovery. Its count is left out: what a node offers may be less.
_PRODUCT, _MEMORY = "nvidia.com/gpu.product", "nvidia.com/gpu.memory"
_MIB_PER_GIB = 1024
_TOLD = 3
_GIB = 2**30
# Of a node's memory, where a pretended GPU is the CPU: the rest is the system's and other pods'.
_CPU_SHARE = 0.5
# Of the pod's own limit: the rest is Python and the rows.
_LIMIT_SHARE = 0.8
# NVIDIA's compute names; from Ampere on a card computes in bfloat16.
_WITHOUT_BF16 = ("T4", "V100", "P100", "P40", "P4", "M60", "K80", "GTX", "RTX-20", "Quadro")


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that match, and what is missing."""

    wanted: Mapping[str, str]
    """The labels that were asked for."""
    matching: tuple[Node, ...]
    """All that carry them, by name."""
    usable: tuple[Node, ...]
    """Ready, schedulable, and with enough GPUs."""
    gpus: int
    """Cards that the pod takes of its node: all of them, as KAITO does."""
    target: int = 1

    @property
    def enough(self) -> bool:
        return len(self.usable) >= self.target

    def verdict(self) -> NodesVerdict:
        """The same for the conditions, in KAITO's reasons."""
        reason, message = "NodesReady", "Enough Nodes are ready"
        if not self.enough:
            drivers = any(node.ready and _lack(node, self.gpus) for node in self.matching)
            reason = "NodePluginsNotReady" if drivers else "NodeNotReady"
            message = f"Not enough Nodes are ready: {self._why()}"
        return NodesVerdict(
            ready=self.enough,
            reason=reason,
            message=message,
            workers=tuple(node.name for node in self.matching),
            target=self.target,
        )

    def _why(self) -> str:
        """What is wrong with nodes that match, and how many more must."""
        lacks = [lack for node in self.matching if (lack := _lack(node, self.gpus))]
        return "; ".join([*lacks[:_TOLD], *self._too_few()])

    def _too_few(self) -> Iterator[str]:
        labels = ", ".join(f"{k}={v}" for k, v in sorted(self.wanted.items()))
        if not self.matching:
            yield f"no node has the labels {labels}; give a GPU node these labels, or add one"
        elif len(self.matching) < self.target:
            have = f"{len(self.matching)} of {self.target} nodes have the labels {labels}"
            yield f"{have}; give another GPU node these labels, or add one"


def labels_of(workspace: Workspace, installation: Installation) -> dict[str, str]:
    """What a node must carry: the selector's labels, and the instance type where it names nodes."""
    wanted = dict(usable(workspace.resource.label_selector))
    for expression in workspace.resource.label_selector.match_expressions:
        if expression.operator == "In" and len(expression.values) == 1:
            wanted[expression.key] = expression.values[0]
    instance = workspace.resource.instance_type
    if installation.auto_provisioning and instance:
        wanted[INSTANCE_TYPE] = instance
    return wanted


def choose(
    workspace: Workspace, seen: Sequence[Node], installation: Installation, catalog: Catalog
) -> Nodes:
    """The nodes for a Workspace out of all nodes of the cluster."""
    wanted = labels_of(workspace, installation)
    labels = wanted.items()  # compared at each wake-up with every node: as sets, in one step
    matching = [node for node in seen if labels <= node.labels.items()]
    matching.sort(key=lambda node: node.name)
    gpus = _gpus(workspace, matching, installation, catalog)
    ready = tuple(node for node in matching if not _lack(node, gpus))
    # Each server of an inference Workspace takes all cards of its node.
    target = workspace.resource.count if workspace.inference else 1
    return Nodes(wanted, tuple(matching), ready, gpus, target)


def card(
    workspace: Workspace, nodes: Nodes, installation: Installation, catalog: Catalog
) -> Gpu | None:
    """What to plan for; None when nothing is known of it.

    The instance type where the Workspace names one, else the least of the nodes it may land on: the
    scheduler chooses among them, and the plan must hold on each.
    """
    if installation.auto_provisioning:
        return catalog.gpu(workspace.resource.instance_type or "")
    cards = [found for node in nodes.usable if (found := card_of(node, catalog))]
    least = min(cards, key=lambda c: (c.gib_per_gpu, c.sku), default=None)
    return replace(least, count=nodes.gpus) if least else None


def card_of(node: Node, catalog: Catalog) -> Gpu | None:
    """The cards of a node, from the labels of NVIDIA's discovery or from its instance type."""
    instance = node.labels.get(INSTANCE_TYPE, "")
    known = catalog.gpu(instance) if instance else None
    product, memory = node.labels.get(_PRODUCT, ""), node.labels.get(_MEMORY, "")
    if not product or not memory.isdigit():
        return known
    return Gpu(
        sku=instance or node.name,
        cloud=known.cloud if known else "byo",
        card=product.replace("-", " "),
        count=node.gpus or 1,
        gib_per_gpu=int(memory) / _MIB_PER_GIB,
        architecture=known.architecture if known else "",
        bf16=not any(old in product for old in _WITHOUT_BF16),
    )


def cpu_card(nodes: Nodes, installation: Installation) -> Gpu:
    """The CPU as a card, where GPUs are only pretended."""
    memory_gib = installation.memory_gib * _LIMIT_SHARE
    if not memory_gib:
        least_bytes = min(
            (n.memory_bytes for n in nodes.usable if n.memory_bytes), default=8 * _GIB
        )
        memory_gib = least_bytes * _CPU_SHARE / _GIB
    return Gpu(
        sku="cpu",
        cloud="byo",
        card="CPU",
        count=1,
        gib_per_gpu=memory_gib,
        architecture="cpu",
        bf16=True,
    )


def _gpus(
    workspace: Workspace, matching: Sequence[Node], installation: Installation, catalog: Catalog
) -> int:
    """Of the instance type; of nodes that were brought, as many as the least of them offers."""
    if installation.auto_provisioning:
        known = catalog.gpu(workspace.resource.instance_type or "")
        return known.count if known else 1
    return min((n.gpus for n in matching if n.gpus and not _lack(n, 1)), default=1)


def _lack(node: Node, gpus: int) -> str:
    """Why a node cannot take the pod; empty when it can."""
    if not node.ready:
        return f"node {node.name} is not ready"
    if node.unschedulable:
        return f"node {node.name} is cordoned"
    if node.gpus < gpus:
        return (
            f"node {node.name} offers {node.gpus} of {gpus} nvidia.com/gpu; "
            "its driver or device plugin is not ready"
        )
    return ""
