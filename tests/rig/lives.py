"""The life of a run in pods and Jobs as they are seen, and its statuses one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rig.statuses import cases, facts, facts_of

from jobs.status import Facts, NodesVerdict, status
from presets.problem import Problem

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
PROBLEMS = (
    Problem("tuning.method", 'unknown method "x"', "write lora or qlora"),
    Problem("tuning.input", "is empty", "name a source"),
    Problem("tuning.config", "is old", warning=True),
)
RECORDED = {
    case["case"]: facts_of(group, case)
    for group in ("ends", "images", "creation", "kaito")
    for case in cases(group)
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
