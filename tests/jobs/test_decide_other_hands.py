"""What other hands delete or edit is put back, and what is theirs is left alone."""

from __future__ import annotations

import pytest
from rig.world import World

from jobs import marks, slim


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
    before = slim.job(job).mutable
    job["spec"].update(change)
    world.settle().done.clear()
    assert slim.job(job).mutable == before
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
