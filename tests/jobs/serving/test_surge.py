"""The only pod is replaced: where a node is to spare, another one is there first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rig.world import World

from jobs.decision import Apply, Patch
from jobs.seen import Note
from presets import Catalog
from tests.jobs.serving.test_decide import BY_IMAGE, done, good, reasons, serving

VOLUME = {"persistentVolumeClaim": {"claimName": "mine"}}
WEAKER = [{**BY_IMAGE, "strength": "0.5"}]
Object = dict[str, Any]


def answering(catalog: Catalog, nodes: int = 2, *adapters: Object) -> World:
    """One pod answers; there are so many nodes."""
    world = serving(catalog, *(adapters or (BY_IMAGE,)))
    first = world.nodes[0]
    world.nodes = tuple(replace(first, name=f"gpu-{n}") for n in range(nodes))
    world.settle()
    world.serve(**done(good("style")))
    return world.settle()


def stateful_set(world: World) -> Object:
    return next(o for (kind, _), o in world.objects.items() if kind == "StatefulSet")


def surges(world: World) -> bool:
    found = stateful_set(world)
    marked = found["metadata"]["annotations"].get("tunery.sh/surge") == "true"
    assert (found["spec"]["replicas"] == 2) == marked
    return marked


@pytest.fixture
def world(catalog: Catalog) -> World:
    """A change is on its way: the old pod answers, the second one does not yet."""
    made = answering(catalog)
    old = made.pods[0]
    made.edit("inference.adapters", WEAKER)
    told = made.reconcile()
    [event] = [e for e in told.events if e.reason == "ServingReplaced"]
    assert "a second pod is started first" in event.message
    made.serve(ready=False)
    made.pods = [old, made.pods[1]]
    return made.settle()


def test_it_is_there_until_all_are_new(world: World) -> None:
    assert surges(world)
    old = world.pods[0]
    world.serve(**done(good("style")))
    world.pods = [old, world.pods[1]]
    assert surges(world.settle()), "the old one is still to be replaced"
    assert world.condition("InferenceReady")["status"] == "True", "the new one answers"
    world.serve(**done(good("style")))
    assert not surges(world.settle())
    assert isinstance(world.done[-1], Patch)


def test_nowhere_to_run_is_the_end_of_it(world: World) -> None:
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    world.pods[1]["status"]["conditions"].append(unschedulable)
    assert not surges(world.settle())


def test_the_first_pod_may_wait_for_its_node_while_the_second_answers(world: World) -> None:
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    world.serve(**done(good("style")))
    pending = {"phase": "Pending", "conditions": [unschedulable]}
    world.pods[0] = {**world.pods[0], "status": pending}
    assert surges(world.settle())
    assert world.condition("InferenceReady")["status"] == "True"


def test_a_quota_is_the_end_of_it(world: World) -> None:
    note = Note(stateful_set(world)["metadata"]["uid"], "FailedCreate", "exceeded quota")
    seen = replace(world.seen(), notes=(note,))
    world.seen = lambda: seen  # type: ignore[method-assign]
    world.reconcile()
    assert not surges(world)


def test_a_pod_that_cannot_start_stops_nobody(world: World) -> None:
    waiting = {"reason": "ErrImagePull", "message": "not found"}
    world.pods[1]["status"]["containerStatuses"] = [{"name": "a", "state": {"waiting": waiting}}]
    assert surges(world.settle())
    assert world.condition("InferenceReady")["reason"] == "ImagePullError"
    assert world.status["state"] == "NotReady", "the old one answers"


@pytest.mark.parametrize(
    ("nodes", "adapters"),
    [
        (1, (BY_IMAGE,)),
        (2, ({"source": {"name": "style", "volumeSource": VOLUME}},)),
    ],
    ids=["no node", "a volume"],
)
def test_without_room_the_pod_is_just_replaced(
    catalog: Catalog, nodes: int, adapters: tuple[Object, ...]
) -> None:
    world = answering(catalog, nodes, *adapters)
    world.edit("inference.adapters", [{**adapters[0], "strength": "0.5"}])
    told = world.reconcile()
    assert "ServingReplaced" in reasons(told) and not surges(world)


def test_who_does_not_answer_is_just_replaced(catalog: Catalog) -> None:
    world = answering(catalog)
    world.serve(ready=False)
    world.edit("inference.adapters", WEAKER)
    assert not surges(world.settle())


def test_another_change_meanwhile_goes_on_with_it(world: World) -> None:
    world.edit("inference.adapters", [{**BY_IMAGE, "strength": "0.25"}])
    world.settle()
    assert surges(world)
    assert [a for a in world.done if isinstance(a, Apply)][-1].object["kind"] == "StatefulSet"
