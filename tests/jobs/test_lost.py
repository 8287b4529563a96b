"""A node that does not answer keeps its pods for ever, unless somebody gives them up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rig.world import World, node

from jobs.decision import Delete
from jobs.lost import lost
from jobs.seen import Pod
from presets import Catalog

GONE_BY, PATIENCE_S = "2026-11-28T10:00:00Z", 300
POD = Pod(
    name="codes-x",
    uid="u1",
    created_at="2026-11-28T09:00:00Z",
    phase="Running",
    node="gpu-1",
    run="abc",
    deleting=True,
    gone_by=GONE_BY,
)
SILENT = replace(node(), ready=False)


def at(time: str, pod: Pod = POD, ready: bool = False) -> tuple[list[str], float | None]:
    """Who is given up, and when to look again."""
    found = lost([pod], [replace(SILENT, ready=ready)], "default", time, PATIENCE_S)
    return [delete.ref.name for delete in found.given_up], found.again_after_s


def test_it_is_waited_for_and_then_given_up() -> None:
    assert at("2026-11-28T10:00:00Z") == ([], 300)
    assert at("2026-11-28T10:04:30Z") == ([], 30)
    assert at("2026-11-28T10:05:00Z") == (["codes-x"], None)
    [delete] = lost([POD], [SILENT], "default", "2026-11-29T10:00:00Z", 0).given_up
    assert delete.at_once and (delete.ref.kind, delete.ref.uid) == ("Pod", "u1")


@pytest.mark.parametrize(
    "pod",
    [
        replace(POD, gone_by="", deleting=False),
        replace(POD, node="another"),
        replace(POD, node=""),
        replace(POD, run=""),
    ],
    ids=["not deleted", "elsewhere", "nowhere", "not ours"],
)
def test_nobody_else_is(pod: Pod) -> None:
    assert at("2026-11-29T00:00:00Z", pod) == ([], None)


def test_a_node_that_answers_ends_its_pods_itself() -> None:
    assert at("2026-11-29T00:00:00Z", ready=True) == ([], None)


def test_a_time_that_is_none_gives_nobody_up() -> None:
    assert at("2026-11-29T00:00:00Z", replace(POD, gone_by="soon")) == ([], 300)


def test_a_workspace_does_both(catalog: Catalog) -> None:
    """Whatever else is to be done."""
    from rig.manifests import tuning

    world = World(tuning({}), catalog).settle()
    metadata = {"name": "x", "uid": "u1", "labels": {"tunery.sh/run": "abc"}}
    world.pods = [
        {
            "metadata": {**metadata, "deletionTimestamp": "2020-01-01T00:00:00Z"},
            "spec": {"nodeName": world.nodes[0].name},
            "status": {"phase": "Running"},
        }
    ]
    world.nodes = tuple(replace(one, ready=False) for one in world.nodes)
    first = world.decide().actions[0]
    assert isinstance(first, Delete) and first.at_once
