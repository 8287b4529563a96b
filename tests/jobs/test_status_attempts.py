"""Each attempt of a run is kept in the status, with what ended it."""

from __future__ import annotations

from rig.lives import ACTIVE, COMPLETE, FAILED, GAVE_UP, at, condition, ended, life, running
from rig.statuses import facts

from jobs.seen import Progress
from jobs.status import status


def test_attempts_are_kept() -> None:
    *_, last = life(
        (facts({"failed": 1}, [ended(71, FAILED)]), at(4)),
        (facts({"failed": 1, "active": 1}, [ended(71, FAILED), running(5)]), at(5, 12)),
        (facts({**COMPLETE, "failed": 1}, []), at(9)),
    )
    assert last["attempts"] == [
        {
            "attempt": 1,
            "pod": "w-1",
            "node": "node1",
            "startedAt": at(0),
            "endedAt": at(4),
            "kind": "OutOfMemory",
            "of": 64,
            "sentence": "lower the batch (predicted: 18.2 GiB per card)",
        },
        {
            "attempt": 2,
            "pod": "w-2",
            "node": "node1",
            "startedAt": at(5),
            "endedAt": at(4, 1),
            "step": 64,
            "of": 64,
        },
    ]


def test_a_pod_that_vanished() -> None:
    *_, last = life((facts(ACTIVE, [running()]), at(1)), (facts({"active": 1}, []), at(2)))
    assert last["attempts"][0]["kind"] == "PodGone"
    assert last["attempts"][0]["endedAt"] == at(2)
    assert last["state"] == "Running"


def test_a_pod_that_vanished_after_its_end_was_announced() -> None:
    evicted = {
        **running(),
        "conditions": [
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        ],
    }
    *_, last = life((facts(ACTIVE, [evicted]), at(1)), (facts({"active": 1}, []), at(2)))
    assert last["attempts"][0]["kind"] == "PodEvicted"


def test_what_an_attempt_ended_of_is_told_once() -> None:
    """The Job's deadline is no cause of the attempts before the last."""
    late = {
        "failed": 2,
        "conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}],
    }
    pods = [ended(1, ""), ended(75, "", 5, 9)]
    told = status(facts(late, pods), {}, at(9))
    assert [a["kind"] for a in told["attempts"]] == ["ContainerFailed", "DeadlineExceeded"]
    assert condition(told, "JobStarted")["reason"] == "DeadlineExceeded"


def test_at_most_ten_attempts_and_their_numbers_go_on() -> None:
    pods = [ended(1, "", n, n + 1) for n in range(0, 55, 5)]
    first = status(facts({"failed": 11}, pods), {}, at(56))
    assert [a["attempt"] for a in first["attempts"]] == list(range(2, 12))
    assert status(facts({"failed": 11}, pods), first, at(57)) == first
    more = status(facts({"failed": 12}, [*pods, ended(1, "", 55, 56)]), first, at(58))
    assert [a["attempt"] for a in more["attempts"]] == list(range(3, 13))


def test_the_step_of_a_pod_that_said_nothing() -> None:
    at_9 = Progress("pod-1", 9, 64, 1.0, 100.0, 60.0)
    *_, last = life(
        (facts(ACTIVE, [running()], progress=at_9), at(2)),
        (facts({"failed": 1}, [ended(137, "")]), at(5)),
    )
    assert (last["attempts"][0]["step"], last["attempts"][0]["of"]) == (9, 64)


def test_a_failure_is_told_from_the_attempts_when_even_the_conditions_are_gone() -> None:
    [failed] = life((facts(GAVE_UP, [ended(71, FAILED)]), at(4)))
    told = status(facts(None, []), {k: v for k, v in failed.items() if k != "conditions"}, at(5))
    assert condition(told, "JobStarted") == {
        **condition(failed, "JobStarted"),
        "lastTransitionTime": at(5),
    }
