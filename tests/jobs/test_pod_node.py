"""Which nodes the pod goes to, and what it asks of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from rig.manifests import tuning
from rig.pods import env
from rig.world import INSTALLATION, World, node

from presets import Catalog


def test_it_goes_only_to_nodes_with_the_labels(make: Any) -> None:
    made = make({"resource.labelSelector.matchLabels": {"app": "tune-phi-3"}})
    affinity = made.pod["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [
        {"key": "app", "operator": "In", "values": ["tune-phi-3"]},
        {
            "key": "node.kubernetes.io/instance-type",
            "operator": "In",
            "values": ["Standard_NC24ads_A100_v4"],
        },
    ]


def test_labels_that_kaito_keeps_for_itself_are_not_asked_for(make: Any) -> None:
    labels = {"app": "tune-phi-3", "kaito.sh/workspace": "another"}
    made = make({"resource.labelSelector.matchLabels": labels})
    assert "kaito.sh/workspace" not in json.dumps(made.pod["affinity"])


def test_a_selector_of_expressions_counts_too(make: Any) -> None:
    expression = {"key": "app", "operator": "In", "values": ["tune-phi-3"]}
    made = make({"resource.labelSelector": {"matchExpressions": [expression]}})
    assert '["tune-phi-3"]' in json.dumps(made.pod["affinity"])


@pytest.mark.parametrize(
    "taint",
    [
        ("sku", "gpu"),
        ("gpu", ""),
        ("gpu", "true"),
        ("nvidia.com/gpu", "present"),
        ("kubernetes.azure.com/scalesetpriority", "spot"),
    ],
)
def test_the_usual_taints_of_gpu_nodes_are_tolerated(make: Any, taint: tuple[str, str]) -> None:
    key, value = taint
    assert any(
        t["key"] == key and (t["operator"] == "Exists" or t.get("value") == value)
        for t in make().pod["tolerations"]
    )


def test_a_node_is_not_emptied_under_it(make: Any) -> None:
    notes = make().template["metadata"]["annotations"]
    assert notes["karpenter.sh/do-not-disrupt"] == "true"
    assert notes["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_all_cards_of_the_instance_are_held(make: Any, catalog: Catalog) -> None:
    sku = "Standard_NC48ads_A100_v4"
    labels = {"app": "tune-phi-3", "node.kubernetes.io/instance-type": sku}
    world = World(
        tuning({"resource.instanceType": sku}), catalog, nodes=(node(labels=labels, gpus=2),)
    ).settle()
    assert world.job is not None
    (main,) = world.job["spec"]["template"]["spec"]["containers"]
    assert main["resources"]["limits"]["nvidia.com/gpu"] == "2"
    world = World(
        tuning({"resource.instanceType": sku}), catalog, nodes=(node(labels=labels, gpus=1),)
    ).settle()
    assert world.job is None, "half of its cards are not there yet"


def test_pretended_cards_are_held_while_the_cpu_computes(make: Any) -> None:
    made = make({}, replace(INSTALLATION, device="cpu", memory_gib=40))
    assert (made.run.hardware.gpus, made.run.hardware.name) == (0, "CPU")
    assert made.run.hardware.gib_per_gpu == 32, "what the limit leaves"
    assert made.main["resources"]["limits"] == {"memory": "40Gi", "nvidia.com/gpu": "1"}


def test_threads_follow_the_limit_and_only_a_limit(make: Any) -> None:
    limited = make({}, replace(INSTALLATION, cpu_limit="2"))
    source = env(limited.main)["OMP_NUM_THREADS"]
    assert source == {"resourceFieldRef": {"resource": "limits.cpu"}}
    assert "OMP_NUM_THREADS" not in env(make().main)


def test_an_estimate_is_asked_for_and_never_a_limit(make: Any) -> None:
    resources = make().main["resources"]
    assert set(resources["limits"]) == {"nvidia.com/gpu"}
    assert {"cpu", "memory", "ephemeral-storage"} < set(resources["requests"])
