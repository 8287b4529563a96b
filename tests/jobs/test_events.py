"""Between two statuses: each transition is told once, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rig.statuses import READY, RUN, cases, facts, facts_of

from jobs.events import events
from jobs.seen import Progress
from jobs.status import Facts, NodesVerdict, status
from presets.problem import Problem

NO_NODES = NodesVerdict(False, "NodeNotReady", "Not enough Nodes are ready: no GPU node")
ENDS = {case["case"]: facts_of("ends", case) for case in cases("ends")}
NOTHING = facts(None, [])
RUNS = ENDS["resumed"]
REFUSED = replace(NOTHING, problems=(Problem("tuning.method", "is bad", "write lora"),), run=None)


def told(*steps: Facts, previous: Mapping[str, Any] | None = None) -> list[tuple[str, str, str]]:
    """(type, reason, message) over a sequence of facts, ten seconds apart."""
    before: Mapping[str, Any] = previous or {}
    found = []
    for n, seen in enumerate(steps):
        after = status(seen, before, f"2026-11-27T10:{n // 6:02}:{n % 6}0Z")
        found += [(e.type, e.reason, e.message) for e in events(before, after)]
        assert events(after, after) == ()
        before = after
    return found


def test_a_run_that_succeeds() -> None:
    trains = replace(RUNS, seen=replace(RUNS.seen, progress=Progress("pod-1", 1, 64)))
    done = ENDS["exit 0, with last words"]
    digest = f"sha256:{'a' * 64}"
    assert told(replace(NOTHING, nodes=NO_NODES), NOTHING, RUNS, RUNS, trains, done, NOTHING) == [
        ("Normal", "NodesReady", "Enough Nodes are ready"),
        ("Normal", "JobStarted", "Tuning job has started"),
        ("Normal", "TrainingStarted", "training begins: 64 steps"),
        (
            "Normal",
            "Succeeded",
            f"workspace succeeds: pushed registry.example/team/adapter@{digest}",
        ),
    ]


def test_a_run_that_is_tried_again_and_fails() -> None:
    pods = [
        p
        for case in cases("ends")
        if case["case"].startswith("out of the card")
        for p in case["pods"]
    ]
    once = facts({"failed": 1}, pods[:1])
    again = facts({"failed": 1, "active": 1, "ready": 1}, pods)
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    over = facts({"failed": 2, "conditions": [failed]}, [pods[0], pods[0]])
    told_all = told(NOTHING, once, again, over, over)
    assert [(kind, reason) for kind, reason, _ in told_all] == [
        ("Normal", "JobStarted"),
        ("Warning", "AttemptFailed"),
        ("Warning", "AttemptFailed"),
        ("Warning", "Failed"),
    ]
    assert told_all[1][2] == (
        "attempt 1 (pod w-1 on node1) ended: OutOfMemory: batch 8 of 2048 tokens does not fit; "
        "lower per_device_train_batch_size (predicted: 18.2 GiB per card)"
    )
    assert told_all[3][2].startswith("tuning job failed after 2 attempts: OutOfMemory: batch 8")


def test_the_step_of_an_attempt_is_told() -> None:
    [*_, (_, _, message)] = told(ENDS["Eviction API, the pod stopped in time"])
    assert message.startswith("attempt 1 (pod w-1 on node1) ended at step 9 of 64: PodEvicted: ")


def test_what_keeps_it_waiting_is_told_when_it_changes() -> None:
    images = [facts_of("images", case) for case in cases("images")]
    waits = told(NOTHING, images[0], images[1], images[0], images[2], images[2], RUNS)
    assert [(kind, reason) for kind, reason, _ in waits] == [
        ("Warning", "ImagePullError"),
        ("Warning", "ImagePullError"),
        ("Normal", "JobStarted"),
    ]
    assert "data-login" in waits[0][2] and "weights" in waits[1][2]


def test_to_be_suspended_is_no_warning() -> None:
    assert told(NOTHING, ENDS["created suspended"])[0][:2] == ("Normal", "Suspended")


def test_an_error_of_ours_is_no_event() -> None:
    wrong = replace(facts_of("images", cases("images")[0]), error="409 Conflict")
    healed = replace(wrong, error="")
    waits = told(NOTHING, healed, wrong, healed)
    assert [reason for _, reason, _ in waits] == ["ImagePullError"]
    assert "reconcile error" not in str(told(wrong))


def test_a_refusal() -> None:
    assert told(REFUSED, REFUSED) == [
        ("Warning", "Refused", "the Workspace is refused: tuning.method: is bad; write lora")
    ]


def test_nodes_that_go() -> None:
    assert told(NOTHING, replace(NOTHING, nodes=NO_NODES), NOTHING) == [
        ("Warning", "NodesNotReady", "Not enough Nodes are ready: no GPU node"),
        ("Normal", "NodesReady", READY.message),
    ]


def test_another_run() -> None:
    second = replace(NOTHING, run=replace(RUN, revision=2, hash="b" * 64))
    stopping = replace(second, waiting="the Job of revision 1 is being stopped")
    assert told(RUNS, stopping, second)[1:] == [
        (
            "Normal",
            "RunReplaced",
            "the Workspace or its configuration has changed: revision 2 follows, "
            "revision 1 is stopped",
        ),
        ("Normal", "WaitingForOldRun", "the Job of revision 1 is being stopped"),
    ]
    done = ENDS["exit 0, with last words"]
    assert told(done, second)[-1][2].endswith("revision 2 follows, revision 1 has ended")


def test_a_run_that_ends_while_its_change_is_refused() -> None:
    done = replace(ENDS["exit 0, with last words"], problems=REFUSED.problems)
    assert told(RUNS, done)[-1] == ("Normal", "Succeeded", "the run of revision 1 has ended")


def test_an_operator_that_restarts_repeats_nothing() -> None:
    for seen in ENDS.values():
        written = status(seen, {}, "2026-11-27T10:00:00Z")
        assert told(seen, previous=written) == []


def test_a_message_fits_an_event() -> None:
    many = tuple(Problem(f"urls[{n}]", "x" * 500) for n in range(50))
    for _, _, message in told(replace(REFUSED, problems=many)):
        assert len(message) <= 1024


def test_a_hand_in_the_status_breaks_nothing() -> None:
    for previous in ({"conditions": 5}, {"attempts": {}}, {"run": []}, {"conditions": [None]}):
        told(RUNS, previous=previous)
