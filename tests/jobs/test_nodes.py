"""Which nodes count, and which card a run is planned for."""

from __future__ import annotations

from typing import Any

import pytest
from rig.manifests import ABSENT, Changes, inference, tuning
from rig.world import node

from jobs.facts import NodesVerdict
from jobs.installation import Installation
from jobs.nodes import Nodes, card, card_of, choose, cpu_card
from jobs.seen import Node
from jobs.workspace import parse
from presets import Catalog

AUTO = Installation(tuner_image="t:1")
BYO = Installation(tuner_image="t:1", auto_provisioning=False)
MINE = {"app": "tune-phi-3"}


def discovered(product: str, mib: int, count: int = 1) -> dict[str, str]:
    """Labels of NVIDIA's GPU feature discovery."""
    return {
        **MINE,
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.memory": str(mib),
        "nvidia.com/gpu.count": str(count),
    }


def chosen(
    catalog: Catalog, nodes: tuple[Node, ...], installation: Installation, changes: Changes
) -> tuple[Nodes, Any]:
    workspace, _ = parse(tuning(changes))
    assert workspace is not None
    found = choose(workspace, nodes, installation, catalog)
    return found, card(workspace, found, installation, catalog)


def byo(catalog: Catalog, *nodes: Node) -> tuple[Nodes, Any]:
    return chosen(catalog, nodes, BYO, {"resource.instanceType": ABSENT})


def test_the_card_is_the_instance_types_where_it_names_nodes(catalog: Catalog) -> None:
    _, found = chosen(catalog, (), AUTO, {})
    assert (found.card, found.count) == ("NVIDIA A100 80GB", 1)


@pytest.mark.parametrize(
    ("product", "mib", "bf16"),
    [
        ("NVIDIA-A100-SXM4-80GB", 81920, True),
        ("NVIDIA-A10", 23028, True),
        ("Tesla-T4", 15360, False),
        ("Tesla-V100-SXM2-16GB", 16384, False),
        ("NVIDIA-GeForce-RTX-4090", 24564, True),
        ("NVIDIA-L4", 23034, True),
        ("NVIDIA-L40S", 46068, True),
        ("NVIDIA-H100-80GB-HBM3", 81559, True),
    ],
)
def test_discovered_cards_are_read(catalog: Catalog, product: str, mib: int, bf16: bool) -> None:
    found = card_of(node(labels=discovered(product, mib)), catalog)
    assert found is not None
    assert found.gib_per_gpu == pytest.approx(mib / 1024)
    assert found.bf16 is bf16
    assert found.cuda


def test_without_discovery_the_instance_type_tells(catalog: Catalog) -> None:
    labels = {**MINE, "node.kubernetes.io/instance-type": "g5.xlarge"}
    found = card_of(node(labels=labels), catalog)
    assert found is not None and found.card == "NVIDIA A10G"
    assert card_of(node(labels=MINE), catalog) is None


def test_a_plan_must_hold_on_the_least_of_the_nodes(catalog: Catalog) -> None:
    nodes = (
        node("big", labels=discovered("NVIDIA-A100-SXM4-80GB", 81920)),
        node("small", labels=discovered("NVIDIA-A10", 23028)),
        node("away", labels=discovered("Tesla-T4", 15360), ready=False),
    )
    found, least = byo(catalog, *nodes)
    assert found.enough
    assert least.card == "NVIDIA A10"


def test_nothing_known_of_a_card_is_no_reason_to_wait(catalog: Catalog) -> None:
    found, least = byo(catalog, node(labels=MINE))
    assert found.enough
    assert least is None


def test_the_verdict_names_what_is_missing(catalog: Catalog) -> None:
    nothing, _ = byo(catalog)
    assert "app=tune-phi-3" in nothing.verdict().message
    assert nothing.verdict().reason == "NodeNotReady"
    down, _ = byo(catalog, node(labels=MINE, ready=False))
    assert "gpu-1 is not ready" in down.verdict().message
    bare, _ = byo(catalog, node(labels=MINE, gpus=0))
    assert bare.verdict().reason == "NodePluginsNotReady"
    assert "0 of 1 nvidia.com/gpu" in bare.verdict().message
    good, _ = byo(catalog, node(labels=MINE))
    assert (good.verdict().ready, good.verdict().workers) == (True, ("gpu-1",))


def two_servers(catalog: Catalog, *nodes: Node) -> NodesVerdict:
    labels = {"matchLabels": MINE}
    changes = {"resource.instanceType": ABSENT, "resource.labelSelector": labels}
    workspace, _ = parse(inference({**changes, "resource.count": 2}))
    assert workspace is not None
    return choose(workspace, nodes, BYO, catalog).verdict()


def test_a_node_too_few_is_told_and_good_ones_are_not_blamed(catalog: Catalog) -> None:
    """One of two was told with no reason at all, or with an empty one beside the other's."""
    short = two_servers(catalog, node("a", labels=MINE))
    assert short.reason == "NodeNotReady"
    assert "ready: 1 of 2 nodes have the labels app=tune-phi-3; give another" in short.message
    down = two_servers(catalog, node("a", labels=MINE), node("b", labels=MINE, ready=False))
    assert down.reason == "NodeNotReady"
    assert down.message == "Not enough Nodes are ready: node b is not ready"
    bare = two_servers(catalog, node("a", labels=MINE), node("b", labels=MINE, gpus=0))
    assert bare.reason == "NodePluginsNotReady" and "node b offers 0 of 1" in bare.message
    both = two_servers(catalog, *(node(name, labels=MINE) for name in ("a", "b")))
    assert both.ready


def test_workers_are_told_by_name(catalog: Catalog) -> None:
    found, _ = byo(catalog, node("b", labels=MINE), node("a", labels=MINE, ready=False))
    assert found.verdict().workers == ("a", "b")


def test_a_pretended_card_is_a_share_of_memory(catalog: Catalog) -> None:
    found, _ = byo(catalog, node(labels=MINE, memory_bytes=16 * 2**30))
    assert cpu_card(found, BYO).gib_per_gpu == 8
    limited = Installation(tuner_image="t:1", memory_gib=10)
    assert cpu_card(found, limited).gib_per_gpu == 8


def test_the_pod_takes_all_cards_that_every_node_offers(catalog: Catalog) -> None:
    labels = discovered("NVIDIA-A10", 23028, count=4)
    nodes = (
        node("a", labels=labels, gpus=4),
        node("b", labels=labels, gpus=2),
        node("c", labels=labels, gpus=0),
    )
    found, least = byo(catalog, *nodes)
    assert (found.gpus, least.count) == (2, 2)
    assert [n.name for n in found.usable] == ["a", "b"]
