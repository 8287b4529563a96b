"""What has finished runs again only when asked to, and what has not is made again."""

from __future__ import annotations

import pytest
from rig.runs import CONFIG, run_label
from rig.world import NOW, World

from jobs import marks


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
