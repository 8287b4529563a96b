"""A change that decides a run replaces it, and no other change does."""

from __future__ import annotations

from dataclasses import replace

from rig.runs import CONFIG, kinds, run_label
from rig.world import World, node

from jobs import marks
from jobs.decision import Delete

OTHER = "training_config: {TrainingArguments: {max_steps: 8}}"


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


def test_a_wrong_change_stops_nothing(configured: World) -> None:
    configured.settle()
    before = run_label(configured)
    configured.configs["mine"] = "training_config: {Nonsense: {}}"
    configured.settle()
    assert run_label(configured) == before
    assert "Nonsense" in configured.condition("JobStarted")["message"]


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
