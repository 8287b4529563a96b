"""Simulated nodes: a NodeClaim as KAITO writes it becomes a node of our SKU, and goes again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from rig.kube import Kube, Machine, Object
from rig.turns import taken

import presets
from cluster import simulated, up
from cluster.lock import locked

SKU = "Standard_NC24ads_A100_v4"


@pytest.fixture(scope="module")
def karpenter(machine: Machine) -> Iterator[Machine]:
    """Our own cluster with Karpenter; it stays for the rest of the session and disturbs nobody."""
    with taken(alone=False), locked(machine.layout):
        up.up(machine.layout, up.Options(gpus=1, karpenter=True))
    yield machine


def claim(name: str, sku: str) -> Object:
    requirements = [
        {"key": "karpenter.sh/nodepool", "operator": "In", "values": ["kaito"]},
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [sku]},
        {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
    ]
    node_class = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": name,
            "labels": {"karpenter.sh/nodepool": "kaito", "kaito.sh/workspace": "demo"},
            "annotations": {"karpenter.sh/do-not-disrupt": "true"},
        },
        "spec": {
            "nodeClassRef": node_class,
            "requirements": requirements,
            "resources": {"requests": {"storage": "1024Gi"}},
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        },
    }


def test_a_node_claim_becomes_a_node_with_its_cards_and_goes_with_it(
    kube: Kube, karpenter: Machine
) -> None:
    kube.apply(claim("ws1", SKU))
    kube.wait("nodeclaim/ws1", "condition=Launched", "condition=Registered", "condition=Ready")
    name = kube.get("nodeclaim", "ws1")["status"]["nodeName"]
    node = kube.get("node", name)
    # This provider fills capacity from the claim's requests alone; cards are in allocatable.
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == SKU
    assert node["metadata"]["labels"]["kaito.sh/workspace"] == "demo"
    assert {"key": "sku", "value": "gpu", "effect": "NoSchedule"} in node["spec"]["taints"]
    kube("delete", "nodeclaim", "ws1", "--timeout=60s")
    kube.wait(f"node/{name}", "delete")


def test_a_sku_that_nobody_has_is_told_on_the_claim(kube: Kube, karpenter: Machine) -> None:
    kube.apply(claim("ws2", "Standard_Nothing"))
    kube.wait("nodeclaim/ws2", "condition=Launched=Unknown")
    conditions = kube.get("nodeclaim", "ws2")["status"]["conditions"]
    launched = next(c for c in conditions if c["type"] == "Launched")
    assert launched["reason"] == "LaunchFailed"
    assert "instance type not found" in launched["message"]
    kube("delete", "nodeclaim", "ws2", "--timeout=60s")


def test_every_sku_we_know_can_be_launched() -> None:
    known = presets.load().gpus
    types = json.loads(simulated.instance_types(known))
    assert [t["name"] for t in types] == [gpu.sku for gpu in known]
    cards = {t["name"]: t["resources"].get("nvidia.com/gpu") for t in types}
    assert cards[SKU] == "1"
    assert cards["trn1.2xlarge"] is None
