"""A new Workspace gets its run as soon as nodes and ConfigMap are there, and nothing is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from rig.manifests import tuning
from rig.runs import CONFIG, kinds, run_label
from rig.world import World, node

from jobs import marks
from jobs.installation import Installation
from presets import Catalog

BYO = Installation(tuner_image="t:1", auto_provisioning=False)


# A new run.


def test_a_new_workspace_is_written_in_an_order_that_may_be_cut(world: World) -> None:
    world.settle()
    assert kinds(world) == [
        "apply ControllerRevision",
        "apply ConfigMap",
        "patch Workspace",
        "apply Job",
    ]


def test_everything_belongs_to_the_workspace_and_to_its_run(world: World) -> None:
    world.settle()
    assert len(world.objects) == 3
    for found in world.objects.values():
        assert [o["uid"] for o in found["metadata"]["ownerReferences"]] == ["workspace-uid"]
    annotations = world.body["metadata"]["annotations"]
    assert annotations[marks.REVISION] == "1"
    assert annotations[marks.HASH].startswith(run_label(world))
    assert ("ConfigMap", f"tune-phi-3-{run_label(world)}") in world.objects
    assert ("ControllerRevision", f"tune-phi-3-{run_label(world)[:5]}") in world.objects


def test_one_that_runs_is_left_in_peace(world: World) -> None:
    world.settle().done.clear()
    world.settle()
    assert world.done == []


# Nodes.


def test_no_job_before_the_nodes_are_ready(world: World) -> None:
    world.nodes = (node(ready=False),)
    world.settle()
    assert world.job is None
    assert world.condition("NodesReady")["status"] == "False"
    assert "gpu-1" in world.condition("NodesReady")["message"]
    world.nodes = (node(),)
    world.settle()
    assert world.job is not None


@pytest.mark.parametrize(
    "problem",
    [
        node(gpus=0),
        node(unschedulable=True),
        node(labels={"app": "tune-phi-3"}),
        node(labels={"node.kubernetes.io/instance-type": "Standard_NC24ads_A100_v4"}),
    ],
    ids=["no driver yet", "cordoned", "another instance type", "another label"],
)
def test_a_node_that_does_not_fit_is_none(world: World, problem: Any) -> None:
    world.nodes = (problem,)
    world.settle()
    assert world.job is None


def test_on_nodes_of_ones_own_the_card_is_read_from_their_labels(catalog: Catalog) -> None:
    labels = {
        "app": "tune-phi-3",
        "nvidia.com/gpu.product": "NVIDIA-A10",
        "nvidia.com/gpu.count": "1",
        "nvidia.com/gpu.memory": "23028",
    }
    body = tuning()
    del body["resource"]["instanceType"]
    world = World(body, catalog, BYO, (node(labels=labels),))
    world.settle()
    assert world.job is not None
    snapshot = next(o for (kind, _), o in world.objects.items() if kind == "ConfigMap")
    assert '"name":"NVIDIA A10"' in snapshot["data"]["run.json"]


def test_a_default_that_nobody_wrote_is_no_mistake_on_nodes_of_ones_own(catalog: Catalog) -> None:
    world = World(tuning(), catalog, BYO).settle()  # v1alpha1's default, read back as v1beta1
    assert world.job is not None
    other = World(tuning({"resource.instanceType": "Standard_NC6s_v3"}), catalog, BYO).settle()
    assert other.job is None
    assert "instanceType must be empty" in other.condition("JobStarted")["message"]


# Problems that the webhook did not see.


@pytest.mark.parametrize(
    "change",
    [
        {"tuning.method": "dora"},
        {"tuning.preset.name": "nothing"},
        {"tuning.output.imagePushSecret": None},
        {"tuning.config": "absent"},
        {"tuning.inputs": {"urls": []}},
    ],
)
def test_a_wrong_workspace_gets_a_condition_and_no_objects(
    catalog: Catalog, change: dict[str, Any]
) -> None:
    world = World(tuning(change), catalog).settle()
    assert world.objects == {}
    assert next(iter(change)).split(".")[-1] in world.condition("JobStarted")["message"]


@pytest.mark.parametrize("body", [{}, {"tuning": 5}, {"spec": {}}, {"resource": [1]}])
def test_an_unreadable_one_gets_a_status_too(catalog: Catalog, body: dict[str, Any]) -> None:
    readable = {k: tuning()[k] for k in ("apiVersion", "kind", "metadata")}
    world = World({**readable, **body}, catalog).settle()
    assert world.objects == {}
    assert world.status["state"] == "Pending"


def test_a_config_map_that_comes_later_starts_the_run(catalog: Catalog) -> None:
    world = World(tuning({"tuning.config": "mine"}), catalog).settle()
    assert world.job is None
    assert "ConfigMap 'mine'" in world.condition("JobStarted")["message"]
    world.configs["mine"] = CONFIG
    assert world.settle().job is not None
