"""The status over the life of a run: what changes, what stays, what is never forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rig.statuses import HASH, NOW, READY, RUN, cases, facts, facts_of

from jobs.events import events
from jobs.seen import Job, Progress
from jobs.status import Facts, NodesVerdict, status
from presets.problem import Problem

ROOT = Path(__file__).resolve().parents[2]
DIGEST = f"sha256:{'a' * 64}"
PREPARED = '{"phase":"prepare","state":"done","of":64,"tokens":900}'
PUSHED = (
    '{"phase":"push","state":"done","step":64,"of":64,"loss":0.0213,"eval_loss":0.5,"tokens":57600,'
    f'"image":"registry.example/team/adapter:1","digest":"{DIGEST}","size_bytes":1234,'
    '"base_revision":"abcdef"}'
)
FAILED = '{"phase":"train","state":"failed","kind":"OutOfMemory","sentence":"lower the batch"}'

Status = dict[str, Any]


def at(minute: int, second: int = 0) -> str:
    return f"2026-11-27T10:{minute:02}:{second:02}Z"


def ran(phase: str, main: Mapping[str, Any], begin: int = 0) -> dict[str, Any]:
    """A pod whose `prepare` is done and whose main container is in this state."""
    done = {
        "exitCode": 0,
        "message": PREPARED,
        "startedAt": at(begin, 2),
        "finishedAt": at(begin, 9),
    }
    return {
        "phase": phase,
        "initContainerStatuses": [{"name": "prepare", "state": {"terminated": done}}],
        "containerStatuses": [{"name": "w", "state": main}],
    }


def running(begin: int = 0) -> dict[str, Any]:
    return ran("Running", {"running": {"startedAt": at(begin, 10)}}, begin)


def ended(code: int, message: str, begin: int = 0, end: int = 4) -> dict[str, Any]:
    state = {
        "exitCode": code,
        "message": message,
        "startedAt": at(begin, 10),
        "finishedAt": at(end),
    }
    return ran("Failed" if code else "Succeeded", {"terminated": state}, begin)


ACTIVE = {"active": 1, "ready": 1, "startTime": at(0)}
COMPLETE = {
    "succeeded": 1,
    "startTime": at(0),
    "completionTime": at(4, 1),
    "conditions": [{"type": "Complete", "status": "True", "reason": "CompletionsReached"}],
}
GAVE_UP = {
    "failed": 1,
    "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}],
}
NO_NODES = NodesVerdict(False, "NodeNotReady", "Not enough Nodes are ready: no GPU node")
CREATING: dict[str, Any] = {
    "phase": "Pending",
    "containerStatuses": [{"name": "w", "state": {"waiting": {"reason": "PodInitializing"}}}],
}
PREPARING: dict[str, Any] = {
    "phase": "Pending",
    "initContainerStatuses": [{"name": "prepare", "state": {"running": {"startedAt": at(0, 2)}}}],
}


def condition(told: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next(c for c in told["conditions"] if c["type"] == kind)


def life(*steps: tuple[Facts, str], previous: Mapping[str, Any] | None = None) -> list[Status]:
    """The statuses one after the other, each made from the one before; equal ones are no write."""
    written: list[Status] = []
    before: Mapping[str, Any] = previous or {}
    for seen, now in steps:
        told = status(seen, before, now)
        assert status(seen, told, now) == told
        if told != before:
            written.append(told)
        before = told
    return written


SUCCESS = (
    (replace(facts(None, []), nodes=NO_NODES), at(0)),
    (facts(None, []), at(0, 1)),
    (facts({}, []), at(0, 2)),
    (facts({"active": 1}, [CREATING]), at(0, 3)),
    (facts({"active": 1}, [PREPARING]), at(0, 4)),
    (facts(ACTIVE, [running()]), at(0, 12)),
    (facts(ACTIVE, [ended(0, PUSHED)]), at(4)),
    (facts({**ACTIVE, "ready": 0}, [ended(0, PUSHED)]), at(4, 1)),
    (facts(COMPLETE, [ended(0, PUSHED)]), at(4, 2)),
    (facts(None, []), at(9)),
)


def test_a_life_takes_few_writes() -> None:
    written = life(*SUCCESS)
    states = [told["state"] for told in written]
    assert states == ["Pending", "Pending", "Running", "Running", "Succeeded"]


def test_the_adapter_is_known_after_everything_is_gone() -> None:
    last = life(*SUCCESS)[-1]
    assert last["output"] == {
        "image": "registry.example/team/adapter:1",
        "digest": DIGEST,
        "sizeBytes": 1234,
        "baseModel": "org/base",
        "baseRevision": "abcdef",
        "metrics": {"steps": "64", "loss": "0.0213", "evalLoss": "0.5", "tokens": "57600"},
    }
    assert last["run"] == {
        "revision": 1,
        "hash": HASH,
        "snapshot": RUN.snapshot,
        "startedAt": at(0, 2),
        "finishedAt": at(4),
        "outcome": "Succeeded",
    }
    assert last["progress"] == {
        "step": 64,
        "of": 64,
        "percent": 100,
        "loss": "0.0213",
        "gpuSeconds": 240,
        "updatedAt": at(4),
    }


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


def test_a_digest_that_comes_late_is_taken() -> None:
    missed, known = life((facts(COMPLETE, []), at(4)), (facts(COMPLETE, [ended(0, PUSHED)]), at(5)))
    assert "digest" not in missed["output"]
    assert "no digest is known" in condition(missed, "WorkspaceSucceeded")["message"]
    assert known["output"]["digest"] == DIGEST
    assert condition(known, "WorkspaceSucceeded")["message"].endswith(f"adapter@{DIGEST}")


def test_success_needs_no_job() -> None:
    """Deleted by hand in the second between the pod's end and its own completion."""
    told = status(facts(None, [ended(0, PUSHED)]), {}, at(5))
    assert (told["state"], told["output"]["digest"]) == ("Succeeded", DIGEST)


def test_a_digest_that_is_none_is_not_told() -> None:
    lies = PUSHED.replace(DIGEST, "sha256:x")
    assert "digest" not in status(facts(COMPLETE, [ended(0, lies)]), {}, at(5))["output"]


def test_an_output_on_a_volume_has_no_image() -> None:
    words = PUSHED.replace("registry.example/team/adapter:1", "/mnt/results")
    seen = replace(facts(COMPLETE, [ended(0, words)]), run=replace(RUN, output_image=""))
    told = status(seen, {}, at(5))
    assert "image" not in told["output"]
    assert condition(told, "WorkspaceSucceeded")["message"].endswith("to the output volume")


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


def test_a_failure_is_told_after_everything_is_gone() -> None:
    failed, *more = life(
        (facts(GAVE_UP, [ended(71, FAILED)]), at(4)),
        (facts(None, []), at(5)),
    )
    assert more == []
    assert failed["state"] == "Failed"
    assert condition(failed, "WorkspaceSucceeded")["reason"] == "workspaceFailed"


def test_a_failure_is_told_from_the_attempts_when_even_the_conditions_are_gone() -> None:
    [failed] = life((facts(GAVE_UP, [ended(71, FAILED)]), at(4)))
    told = status(facts(None, []), {k: v for k, v in failed.items() if k != "conditions"}, at(5))
    assert condition(told, "JobStarted") == {
        **condition(failed, "JobStarted"),
        "lastTransitionTime": at(5),
    }


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


PROBLEMS = (
    Problem("tuning.method", 'unknown method "x"', "write lora or qlora"),
    Problem("tuning.input", "is empty", "name a source"),
    Problem("tuning.config", "is old", warning=True),
)


def test_a_refusal_tells_every_problem_in_one_condition() -> None:
    told = status(replace(facts(None, []), problems=PROBLEMS, run=None), {}, NOW)
    started = condition(told, "JobStarted")
    assert (started["status"], started["reason"], told["state"]) == ("False", "Refused", "Pending")
    assert started["message"] == (
        "the Workspace is refused for 2 problems: "
        '(1) tuning.method: unknown method "x"; write lora or qlora '
        "(2) tuning.input: is empty; name a source"
    )


def test_a_warning_refuses_nothing() -> None:
    warned = replace(facts(ACTIVE, [running()]), problems=PROBLEMS[2:])
    assert status(warned, {}, NOW)["state"] == "Running"


def test_many_problems_fit_a_condition() -> None:
    many = tuple(Problem(f"urls[{n}]", "x" * 5000, "y") for n in range(200))
    told = status(replace(facts(None, []), problems=many, run=None), {}, NOW)
    message = condition(told, "JobStarted")["message"]
    assert len(message) < 32768 and message.endswith("… and 180 more")


def test_a_change_that_is_refused_does_not_stop_what_runs() -> None:
    runs = life(*SUCCESS[:6])[-1]
    told = status(replace(facts(ACTIVE, [running()]), problems=PROBLEMS), runs, at(2))
    started = condition(told, "JobStarted")
    assert (told["state"], started["status"], started["reason"]) == ("Running", "True", "Refused")
    assert started["message"].startswith("the run of revision 1 goes on; the Workspace is refused")
    assert told["run"] == runs["run"]


def test_a_refused_change_of_a_finished_run_forgets_nothing() -> None:
    last = life(*SUCCESS)[-1]
    refused = status(replace(facts(None, []), problems=PROBLEMS), last, at(30))
    assert refused["state"] == "Pending"
    assert {k: refused[k] for k in ("run", "attempts", "output", "progress")} == {
        k: last[k] for k in ("run", "attempts", "output", "progress")
    }
    healed = status(facts(None, []), refused, at(31))
    assert (healed["state"], healed["output"]) == ("Succeeded", last["output"])


def test_an_unreadable_workspace_forgets_nothing() -> None:
    last = life(*SUCCESS)[-1]
    unread = replace(facts(None, []), run=None, workspace=None, problems=PROBLEMS[:1])
    told = status(unread, last, at(30))
    assert told["run"] == last["run"] and told["output"] == last["output"]
    assert told["state"] == "Pending"


def test_the_last_error_stands_behind_every_message() -> None:
    wrong = replace(facts(ACTIVE, [running()]), error="409 Conflict")
    first = status(wrong, {}, NOW)
    for told in (first, status(wrong, first, NOW)):
        assert all(
            c["message"].count(" (last reconcile error: 409 Conflict)") == 1
            for c in told["conditions"]
        )
    healed = status(facts(ACTIVE, [running()]), first, NOW)
    assert "error" not in str(healed["conditions"])


def test_the_last_error_does_not_stay_on_a_finished_run() -> None:
    [failed] = life((replace(facts(GAVE_UP, [ended(71, FAILED)]), error="500"), at(4)))
    assert "last reconcile error" not in str(status(facts(None, []), failed, at(5)))


def test_serving_that_cannot_be_read_keeps_its_adapters() -> None:
    before = {"adapters": [{"name": "facts", "image": "r.invalid/a@sha256:1", "served": True}]}
    told = status(replace(facts(None, []), kind="inference", run=None), before, NOW)
    assert [(c["type"], c["status"], c["message"]) for c in told["conditions"]][2:] == [
        ("InferenceReady", "False", "Inference workload is not ready"),
        ("WorkspaceSucceeded", "False", "workspace is waiting for inference workload readiness"),
    ]
    assert told["adapters"] == before["adapters"] and told["state"] == "Pending"


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


# Any history, in any order, with clocks that disagree.
RECORDED = {
    case["case"]: facts_of(group, case)
    for group in ("ends", "images", "creation", "kaito")
    for case in cases(group)
}
PROGRESS = st.builds(
    Progress,
    pod_uid=st.sampled_from(["pod-1", "pod-2", "other"]),
    step=st.integers(0, 64),
    of=st.just(64),
    loss=st.none() | st.floats(0, 9),
    tokens_per_s=st.none() | st.floats(0, 1e6),
    eta_s=st.none() | st.floats(0, 1e6),
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Facts, str]]:
    steps = []
    for _ in range(draw(st.integers(1, 6))):
        seen = RECORDED[draw(st.sampled_from(sorted(RECORDED)))]
        run = draw(st.sampled_from([RUN, RUN, RUN, replace(RUN, hash="b" * 64), None]))
        more = {
            "run": run,
            "problems": draw(st.sampled_from([(), (), PROBLEMS])),
            "error": draw(st.sampled_from(["", "", "500"])),
            "seen": replace(seen.seen, progress=draw(st.none() | PROGRESS)),
        }
        steps.append(
            (replace(seen, **more), at(draw(st.integers(0, 20)), draw(st.integers(0, 59))))
        )
    return steps


@settings(deadline=None, max_examples=200)
@given(histories())
def test_a_status_made_from_itself_is_itself(history: Sequence[tuple[Facts, str]]) -> None:
    before: Mapping[str, Any] = {}
    for seen, now in history:
        told = status(seen, before, now)
        assert status(seen, told, now) == told
        assert events(told, told) == ()
        outcome = before.get("run", {}).get("outcome")
        if outcome and before["run"]["hash"] == told.get("run", {}).get("hash"):
            assert told["run"]["outcome"] == outcome, "what has ended stays so"
            assert told["run"]["finishedAt"] == before["run"]["finishedAt"]
        before = told


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from([HASH, NOW]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("run", "hash", "outcome", "attempts", "pod", "attempt", "startedAt", "step"),
                    *("progress", "updatedAt", "of", "output", "metrics", "conditions", "type"),
                    *("status", "message", "workerNodes", "kind", "endedAt", "gpuSeconds"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(deadline=None)
@given(st.sampled_from(sorted(RECORDED)), st.dictionaries(st.text(max_size=9), ANYTHING) | ANYTHING)
@example(sorted(RECORDED)[0], [{"endedAt": True, "pod": []}])
def test_an_edited_status_is_survived(case: str, previous: Any) -> None:
    before = (
        previous if isinstance(previous, dict) else {"run": {"hash": HASH}, "attempts": previous}
    )
    events(before, status(RECORDED[case], before, NOW))


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_every_field_is_declared(version: str) -> None:
    """An undeclared field would be pruned by the API server without a word."""
    crd = yaml.safe_load((ROOT / "charts" / "tunery" / "files" / "crd.yaml").read_text())
    [schema] = [
        v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["name"] == version
    ]
    at_9 = Progress("pod-1", 9, 64, 1.0, 100.0, 60.0)
    shown = [*life(*SUCCESS), status(facts(ACTIVE, [running()], progress=at_9), {}, at(2))]
    for told in [*shown, *(status(seen, {}, NOW) for seen in RECORDED.values())]:
        assert undeclared(told, schema["properties"]["status"], "status") == []


def undeclared(value: object, schema: Mapping[str, Any], path: str) -> list[str]:
    if isinstance(value, list):
        return [p for item in value for p in undeclared(item, schema["items"], f"{path}[]")]
    if isinstance(value, dict):
        if "additionalProperties" in schema:
            return []
        known = schema.get("properties", {})
        return [
            problem
            for key, inner in value.items()
            for problem in (
                undeclared(inner, known[key], f"{path}.{key}")
                if key in known
                else [f"{path}.{key}"]
            )
        ]
    kinds = {"string": str, "integer": int, "boolean": bool}
    return [] if isinstance(value, kinds[schema["type"]]) else [f"{path}: {value!r}"]
