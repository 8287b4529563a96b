"""The status over the life of a run: what changes, what stays, what another run forgets."""

from __future__ import annotations

from dataclasses import replace

from rig.lives import (
    COMPLETE,
    FAILED,
    GAVE_UP,
    NO_NODES,
    PUSHED,
    SUCCESS,
    at,
    condition,
    ended,
    life,
)
from rig.statuses import NOW, READY, RUN, facts

from jobs.seen import Job
from jobs.status import status


def test_a_life_takes_few_writes() -> None:
    written = life(*SUCCESS)
    states = [told["state"] for told in written]
    assert states == ["Pending", "Pending", "Running", "Running", "Succeeded"]


def test_a_time_moves_only_with_the_status() -> None:
    first, *_, last = life(*SUCCESS)
    assert condition(first, "NodesReady")["lastTransitionTime"] == at(0)
    assert condition(last, "NodesReady")["lastTransitionTime"] == at(0, 1)
    assert condition(last, "JobStarted")["lastTransitionTime"] == at(0, 4)
    assert condition(last, "WorkspaceSucceeded")["lastTransitionTime"] == at(4)


def test_an_edit_of_the_generation_moves_no_time() -> None:
    last = life(*SUCCESS)[-1]
    again = status(replace(facts(None, []), generation=2), last, at(30))
    for old, new in zip(last["conditions"], again["conditions"], strict=True):
        assert {**old, "observedGeneration": 2} == new


def test_a_finished_run_does_not_miss_its_nodes() -> None:
    last = life(*SUCCESS)[-1]
    gone = replace(facts(None, []), nodes=NO_NODES)
    assert status(gone, last, at(50)) == last


def test_nodes_that_are_missing() -> None:
    told = status(replace(facts(None, []), nodes=NO_NODES), {}, NOW)
    nodes, resource = condition(told, "NodesReady"), condition(told, "ResourceReady")
    assert (nodes["status"], nodes["reason"]) == ("False", "NodeNotReady")
    assert (resource["status"], resource["reason"]) == ("False", "NodeNotReady")
    ready = condition(status(facts(None, []), {}, NOW), "ResourceReady")
    assert (ready["reason"], ready["message"]) == (
        "workspaceResourceStatusSuccess",
        "workspace resource is ready",
    )
    assert READY.workers == ("node1",)


def test_a_failure_is_told_after_everything_is_gone() -> None:
    failed, *more = life(
        (facts(GAVE_UP, [ended(71, FAILED)]), at(4)),
        (facts(None, []), at(5)),
    )
    assert more == []
    assert failed["state"] == "Failed"
    assert condition(failed, "WorkspaceSucceeded")["reason"] == "workspaceFailed"


def test_another_run_forgets_this_one() -> None:
    last = life(*SUCCESS)[-1]
    other = replace(RUN, revision=2, hash="b" * 64, snapshot="w-bbbbbbbbbb")
    told = status(replace(facts(None, []), run=other), last, at(30))
    assert told["run"] == {"revision": 2, "hash": "b" * 64, "snapshot": "w-bbbbbbbbbb"}
    assert told["state"] == "Pending"
    assert not {"attempts", "output", "progress"} & told.keys()


def test_waiting_for_the_run_before() -> None:
    told = status(replace(facts(None, []), waiting="the Job of revision 1 stops"), {}, NOW)
    started = condition(told, "JobStarted")
    assert (started["reason"], started["message"]) == (
        "WaitingForOldRun",
        "the Job of revision 1 stops",
    )


def test_the_job_of_another_run_is_not_this_ones() -> None:
    other = replace(facts(COMPLETE, [ended(0, PUSHED)]), run=replace(RUN, hash="b" * 64))
    assert status(other, {}, NOW)["state"] == "Pending"


def test_a_job_of_somebody_else() -> None:
    seen = facts(None, [])
    taken = replace(
        seen, seen=replace(seen.seen, job=Job("w", "j", "other", RUN.short, succeeded=1))
    )
    told = status(taken, {}, NOW)
    assert (told["state"], condition(told, "JobStarted")["reason"]) == ("Pending", "NameTaken")
