"""What is done about a Workspace, from its first day to its last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rig.manifests import tuning
from rig.world import NOW, World, node

from jobs import marks, slim
from jobs.decision import Apply, Delete, Patch
from jobs.installation import Installation
from jobs.seen import Seen
from presets import Catalog

CONFIG = "training_config: {TrainingArguments: {max_steps: 7}}"
OTHER = "training_config: {TrainingArguments: {max_steps: 8}}"
BYO = Installation(tuner_image="t:1", auto_provisioning=False)


@pytest.fixture
def world(catalog: Catalog) -> World:
    return World(tuning(), catalog)


@pytest.fixture
def configured(catalog: Catalog) -> World:
    return World(tuning({"tuning.config": "mine"}), catalog, configs={"mine": CONFIG})


def kinds(world: World) -> list[str]:
    """The writes so far, in their order."""
    names = []
    for action in world.done:
        if isinstance(action, Apply):
            names.append(f"apply {action.object['kind']}")
        else:
            names.append(f"{type(action).__name__.lower()} {action.ref.kind}")
    return names


def run_label(world: World) -> str:
    assert world.job is not None
    return slim.job(world.job).run


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


def test_a_wrong_change_stops_nothing(configured: World) -> None:
    configured.settle()
    before = run_label(configured)
    configured.configs["mine"] = "training_config: {Nonsense: {}}"
    configured.settle()
    assert run_label(configured) == before
    assert "Nonsense" in configured.condition("JobStarted")["message"]


# Changes.


def test_another_spec_stops_the_old_job_before_the_new_one_is_made(world: World) -> None:
    world.settle().done.clear()
    first = run_label(world)
    world.edit("tuning.output.image", "registry.invalid/adapters/phi-3:2")
    world.settle()
    assert kinds(world)[0] == "delete Job"
    assert kinds(world)[-1] == "apply Job"
    assert run_label(world) != first
    assert world.body["metadata"]["annotations"][marks.REVISION] == "2"


def test_the_old_job_is_deleted_by_its_uid(world: World) -> None:
    world.settle()
    assert world.job is not None
    uid = world.job["metadata"]["uid"]
    world.edit("tuning.output.image", "registry.invalid/adapters/phi-3:2")
    (delete,) = world.decide().actions
    assert isinstance(delete, Delete)
    assert delete.ref.uid == uid


def test_while_the_old_job_goes_nothing_is_made(world: World) -> None:
    world.settle()
    world.edit("tuning.output.image", "registry.invalid/adapters/phi-3:2")
    world.reconcile()
    assert world.decide().actions == ()
    assert "stopping" in world.decide().status["conditions"][2]["message"]  # type: ignore[index]


def test_another_text_in_the_config_map_is_another_run(configured: World) -> None:
    configured.settle()
    first = run_label(configured)
    configured.configs["mine"] = OTHER
    configured.settle()
    assert run_label(configured) != first
    assert configured.body["metadata"]["annotations"][marks.REVISION] == "2"


def test_going_back_runs_again_under_the_old_number(configured: World) -> None:
    configured.settle()
    first = run_label(configured)
    configured.configs["mine"] = OTHER
    configured.settle()
    configured.configs["mine"] = CONFIG
    configured.settle()
    assert run_label(configured) == first
    assert configured.body["metadata"]["annotations"][marks.REVISION] == "1"
    revisions = [name for kind, name in configured.objects if kind == "ControllerRevision"]
    assert len(revisions) == 2


def test_what_does_not_decide_a_run_changes_nothing(world: World) -> None:
    world.settle().done.clear()
    world.annotate("team", "blue")
    world.body["metadata"]["labels"] = {"cost": "low"}
    world.installation = replace(world.installation, tuner_image="registry.invalid/tuner:2")
    world.nodes = (node(), node("gpu-2", gpus=8))
    world.settle()
    assert world.done == []


def test_ten_revisions_are_kept_and_the_snapshots_of_those(world: World) -> None:
    for tag in range(1, 15):
        world.edit("tuning.output.image", f"registry.invalid/adapters/phi-3:{tag}")
        world.settle()
    revisions = [o for (kind, _), o in world.objects.items() if kind == "ControllerRevision"]
    assert sorted(r["revision"] for r in revisions) == list(range(5, 15))
    assert sum(kind == "ConfigMap" for kind, _ in world.objects) == 10


def test_revisions_whose_short_hashes_are_equal_get_two_names(world: World) -> None:
    world.settle()
    (name,) = [name for kind, name in world.objects if kind == "ControllerRevision"]
    found = world.objects.pop(("ControllerRevision", name))
    found["metadata"]["annotations"][marks.HASH] = run_label(world)[:5] + "f" * 59
    world.objects["ControllerRevision", name] = found
    world.settle()
    names = sorted(name for kind, name in world.objects if kind == "ControllerRevision")
    assert names == [f"tune-phi-3-{run_label(world)[:5]}", f"tune-phi-3-{run_label(world)}"]


# The end.


@pytest.mark.parametrize("succeeded", [True, False])
def test_a_finished_run_is_never_made_again(world: World, succeeded: bool) -> None:
    world.settle().end_job(succeeded)
    world.settle()
    world.remove("Job")
    world.settle().done.clear()
    world.remove("ConfigMap")
    world.settle()
    assert world.job is None
    assert world.status["state"] == ("Succeeded" if succeeded else "Failed")


def test_a_job_that_was_deleted_before_its_end_is_made_again(world: World) -> None:
    world.settle().remove("Job")
    world.settle()
    assert world.job is not None


@pytest.mark.parametrize("succeeded", [True, False])
def test_asking_to_retry_runs_again(world: World, succeeded: bool) -> None:
    world.settle().end_job(succeeded)
    world.settle()
    first = run_label(world)
    world.annotate(marks.RETRY, "1")
    world.settle()
    assert run_label(world) != first
    world.end_job(True)
    world.settle().remove("Job")
    world.settle()
    assert world.job is None
    world.annotate(marks.RETRY, "2")
    assert world.settle().job is not None


def test_tidying_the_config_map_away_changes_nothing(configured: World) -> None:
    configured.settle().end_job(True)
    configured.settle().configs.clear()
    configured.settle()
    assert configured.status["state"] == "Succeeded"
    configured.edit("tuning.output.image", "registry.invalid/adapters/phi-3:2")
    configured.settle()
    assert "ConfigMap 'mine'" in configured.condition("JobStarted")["message"]


def test_a_config_map_that_goes_while_it_trains_stops_nothing(configured: World) -> None:
    configured.settle().configs.clear()
    first = run_label(configured)
    configured.settle()
    assert run_label(configured) == first, "its snapshot has the content"
    configured.remove("Job")
    configured.settle()
    assert "ConfigMap 'mine'" in configured.condition("JobStarted")["message"]
    configured.configs["mine"] = CONFIG
    configured.settle()
    assert run_label(configured) == first


def test_one_that_is_being_deleted_is_left_alone(world: World) -> None:
    world.settle()
    world.body["metadata"]["deletionTimestamp"] = NOW
    world.remove("ConfigMap")
    decision = world.decide()
    assert (decision.actions, decision.status, decision.events) == ((), None, ())


# Other hands.


@pytest.mark.parametrize("kind", ["ControllerRevision", "ConfigMap"])
def test_a_child_that_was_deleted_comes_back(world: World, kind: str) -> None:
    world.settle()
    before = world.lasting()
    world.remove(kind)
    world.settle()
    assert world.lasting() == before


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("labels", marks.WORKSPACE, "other"),
        ("labels", marks.WORKSPACE_NAMESPACE, None),
        ("annotations", marks.REVISION, "9"),
        ("annotations", marks.HASH, None),
    ],
)
def test_marks_that_were_edited_are_put_back(
    world: World, part: str, key: str, value: str | None
) -> None:
    job = world.settle().job
    assert job is not None
    before = world.lasting()
    job["metadata"][part][key] = value
    world.settle()
    assert world.lasting() == before


@pytest.mark.parametrize(
    "change",
    [
        {"parallelism": 0},
        {"backoffLimit": 50},
        {"ttlSecondsAfterFinished": 5},
        {"activeDeadlineSeconds": 60},
    ],
)
def test_settings_that_were_edited_are_put_back(world: World, change: dict[str, int]) -> None:
    job = world.settle().job
    assert job is not None
    digest = slim.job(job).mutable_digest
    job["spec"].update(change)
    world.settle().done.clear()
    assert slim.job(job).mutable_digest == digest
    world.settle()
    assert world.done == []


def test_a_run_label_that_was_edited_does_not_cost_the_run(world: World) -> None:
    job = world.settle().job
    assert job is not None
    before = world.lasting()
    job["metadata"]["labels"][marks.RUN] = "0000000000"
    world.settle()
    assert world.lasting() == before
    assert world.job is job, "the very same Job"


def test_a_suspended_job_stays_suspended_and_says_so(world: World) -> None:
    job = world.settle().job
    assert job is not None
    job["spec"]["suspend"] = True
    job["status"] = {"conditions": [{"type": "Suspended", "status": "True"}]}
    world.settle()
    assert job["spec"]["suspend"] is True
    assert "suspend" in world.condition("JobStarted")["message"]


def test_a_job_of_somebody_else_is_never_touched(world: World) -> None:
    theirs = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "tune-phi-3", "uid": "theirs", "labels": {}},
        "spec": {},
    }
    world.objects["Job", "tune-phi-3"] = theirs
    world.settle()
    assert world.done == []
    assert world.job is theirs
    assert "somebody else" in world.condition("JobStarted")["message"]
    del world.objects["Job", "tune-phi-3"]
    assert world.settle().job is not None


def test_a_job_that_kaito_made_is_taken_over(world: World) -> None:
    """Changing operators must not train everything again."""
    kaito = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "tune-phi-3",
            "uid": "kaito",
            "labels": {marks.WORKSPACE: "tune-phi-3"},
            "annotations": {marks.REVISION: "1"},
            "ownerReferences": [{"uid": "workspace-uid", "controller": True}],
        },
        "spec": {"template": {"spec": {}}},
    }
    world.objects["Job", "tune-phi-3"] = kaito
    world.settle()
    assert world.job is kaito
    world.end_job(True)
    assert world.settle().status["state"] == "Succeeded"
    world.edit("tuning.output.image", "registry.invalid/adapters/phi-3:2")
    world.settle()
    assert world.job is not kaito


# What the shell is told.


def test_progress_is_asked_of_the_pod_that_trains(world: World) -> None:
    world.settle()
    labels = marks.labels(
        "tune-phi-3", "default", world.body["metadata"]["annotations"][marks.HASH]
    )
    running = {"running": {"startedAt": NOW}}
    pod = {
        "metadata": {"name": "p", "uid": "p", "labels": labels, "creationTimestamp": NOW},
        "spec": {"initContainers": [{"name": "prepare"}], "containers": [{"name": "tune-phi-3"}]},
        "status": {
            "phase": "Pending",
            "podIP": "fd00::7",
            "initContainerStatuses": [{"name": "prepare", "state": running}],
        },
    }
    world.pods = [pod]
    assert world.decide().watch_progress_of == ""
    pod["status"] |= {  # type: ignore[operator]
        "phase": "Running",
        "containerStatuses": [{"name": "tune-phi-3", "state": running}],
    }
    assert world.decide().watch_progress_of == "http://[fd00::7]:5000/metrics"


def test_an_error_of_the_last_reconcile_is_told(world: World) -> None:
    decision = world.decide("the API server is away")
    assert any("the API server is away" in c["message"] for c in decision.status["conditions"])  # type: ignore[index]


def test_deciding_needs_nothing_but_a_name(catalog: Catalog) -> None:
    world = World({"apiVersion": "kaito.sh/v1beta1", "metadata": {"name": "x"}}, catalog)
    assert world.decide().status is not None
    assert Seen() == Seen()


def test_patches_name_only_what_is_ours(world: World) -> None:
    world.settle()
    (patch,) = [a for a in world.done if isinstance(a, Patch)]
    assert set(patch.patch) == {"metadata"}
    assert set(patch.patch["metadata"]) == {"annotations"}
