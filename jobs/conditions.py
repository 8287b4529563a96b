"""The conditions of a Workspace and its state, in KAITO's words. Called by jobs/status.py.

Types, reasons and messages are those of KAITO's workspace controller, as people's scripts know
them. What it leaves untold stands in the reason (as it does for KAITO's inference pods) or behind
its message: why nothing runs yet, and why a Job failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from jobs.causes import Cause, failure_of, waiting_of
from jobs.causes.cause import short
from jobs.earlier import Earlier, Object, text
from jobs.facts import Facts
from jobs.reached import Reached
from presets.problem import Problem
from tuning.reference import parse

_MOST_PROBLEMS = 20
_NOT_SERVED = "Inference workload is not ready"
ERROR = " (last reconcile error: "
"""Behind a message, as KAITO says that something could not be done."""


class Type(StrEnum):
    NODES = "NodesReady"
    RESOURCE = "ResourceReady"
    STARTED = "JobStarted"
    INFERENCE = "InferenceReady"
    SUCCEEDED = "WorkspaceSucceeded"


class Reason(StrEnum):
    """Beside those of jobs/nodes.py, jobs/causes and tuning/failure.py. The last five are ours."""

    RESOURCE_READY = "workspaceResourceStatusSuccess"
    JOB_PENDING = "WorkspaceTuningJobStatusPending"
    JOB_STARTED = "WorkspaceTuningJobStatusStarted"
    INFERENCE_READY = "WorkspaceInferenceStatusSuccess"
    INFERENCE_PENDING = "WorkspaceInferenceStatusPending"
    PENDING = "workspacePending"
    SUCCEEDED = "workspaceSucceeded"
    FAILED = "workspaceFailed"
    REFUSED = "Refused"
    NAME_TAKEN = "NameTaken"
    WAITING = "WaitingForOldRun"
    ADAPTER = "AdapterNotServed"
    ADAPTER_WAITS = "WaitingForAdapter"


State = Literal["Pending", "Running", "Succeeded", "Failed", "Ready", "NotReady"]


@dataclass(frozen=True, slots=True)
class Told:
    """A condition without its times."""

    type: Type
    true: bool
    reason: str
    message: str


def conditions(facts: Facts, reached: Reached, before: Earlier, now: str) -> list[dict[str, Any]]:
    """All of them; a time moves only when the condition's status does."""
    told = (*_nodes(facts, reached, before), *_of_kind(facts, reached, before))
    return [_dated(one, facts, before.conditions, now) for one in told]


def state(facts: Facts, reached: Reached, found: Sequence[Object]) -> State:
    """KAITO's one word. Failed only when the Job has failed, Running only while something does."""
    if facts.kind == "inference":
        return _serving_state(facts, found)
    outcome = reached.outcome
    if outcome and not facts.refused:
        return "Succeeded" if outcome == "Succeeded" else "Failed"
    runs = any(c["type"] == Type.STARTED and c["status"] == "True" for c in found)
    return "Running" if runs else "Pending"


def _nodes(facts: Facts, reached: Reached, before: Earlier) -> Iterator[Told]:
    nodes = facts.nodes
    reason = Reason.RESOURCE_READY if nodes.ready else nodes.reason
    message = "workspace resource is ready" if nodes.ready else nodes.message
    for told in (
        Told(Type.NODES, nodes.ready, nodes.reason, nodes.message),
        Told(Type.RESOURCE, nodes.ready, reason, message),
    ):
        was = before.conditions.get(told.type, {})
        # A finished run needs its nodes no more: they may go, and nothing has become untrue.
        kept = bool(reached.outcome) and was.get("status") == "True"
        yield _as_before(told.type, was) if kept else told


def _of_kind(facts: Facts, reached: Reached, before: Earlier) -> tuple[Told, Told]:
    if facts.kind == "inference":
        return _inference(facts)
    if reached.outcome and not facts.refused:
        return _finished(facts, reached, before)
    return _unfinished(facts, reached)


def _serving_state(facts: Facts, found: Sequence[Object]) -> State:
    """NotReady: some of it answers, and not all that was asked for."""
    if any(c["type"] == Type.INFERENCE and c["status"] == "True" for c in found):
        return "Ready"
    return "NotReady" if facts.serving and facts.serving.answers else "Pending"


def _inference(facts: Facts) -> tuple[Told, Told]:
    serving = facts.serving
    if facts.refused:
        goes_on = "what is served goes on; " if serving and serving.answers else ""
        told = Told(Type.INFERENCE, False, Reason.REFUSED, goes_on + _problems(facts.refused))
    elif serving is None:
        told = Told(Type.INFERENCE, False, Reason.INFERENCE_PENDING, _NOT_SERVED)
    else:
        told = Told(Type.INFERENCE, serving.ready, serving.reason, serving.message)
    if told.true:
        return told, Told(Type.SUCCEEDED, True, Reason.SUCCEEDED, "workspace succeeds")
    waits = "workspace is waiting for inference workload readiness"
    why = "" if told.reason == Reason.INFERENCE_PENDING else f": {told.reason}: {told.message}"
    return told, Told(Type.SUCCEEDED, False, Reason.PENDING, waits + why)


def _finished(facts: Facts, reached: Reached, before: Earlier) -> tuple[Told, Told]:
    if reached.outcome == "Succeeded":
        return (
            Told(Type.STARTED, True, Reason.JOB_STARTED, "Tuning job has started"),
            Told(Type.SUCCEEDED, True, Reason.SUCCEEDED, _success(reached.output)),
        )
    was = before.conditions.get(Type.SUCCEEDED, {})
    started = before.conditions.get(Type.STARTED, {})
    if facts.job is None and was.get("reason") == Reason.FAILED and started:
        return _as_before(Type.STARTED, started), _as_before(Type.SUCCEEDED, was)
    cause = failure_of(facts, reached.attempts)
    count = len(reached.attempts)
    after = f" after {count} attempts" if count > 1 else ""
    message = f"tuning job failed{after}: {cause}"
    return (
        Told(Type.STARTED, False, cause.reason, f"tuning job failed: {cause.sentence}"),
        Told(Type.SUCCEEDED, False, Reason.FAILED, message),
    )


def _unfinished(facts: Facts, reached: Reached) -> tuple[Told, Told]:
    started = _started(facts, reached)
    if started.true:
        message = "workspace has not completed yet, tuning job is running"
    elif reached.started:
        message = "workspace has not completed yet"
    else:
        message = "workspace is initializing, tuning job has not started"
    if facts.refused:
        why = "; the Workspace as it is now is refused, see the condition JobStarted"
    elif started.reason in (Reason.JOB_STARTED, Reason.JOB_PENDING):
        why = _retry(reached)
    else:
        why = f": {started.reason}: {started.message}"
    return started, Told(Type.SUCCEEDED, False, Reason.PENDING, message + why)


def _started(facts: Facts, reached: Reached) -> Told:
    cause = waiting_of(facts)
    runs = reached.started and not reached.outcome and cause is None
    if facts.refused:
        return _refused(facts, reached, runs and facts.job is not None)
    if facts.foreign_job:
        owner = f'the Job "{facts.name}" belongs to somebody else'
        do = "delete it, or give the Workspace another name"
        return Told(Type.STARTED, False, Reason.NAME_TAKEN, f"{owner}; {do}")
    if facts.waiting:
        return Told(Type.STARTED, False, Reason.WAITING, facts.waiting)
    if cause:
        return Told(Type.STARTED, False, cause.reason, cause.sentence)
    if runs:
        return Told(Type.STARTED, True, Reason.JOB_STARTED, "Tuning job has started")
    return Told(Type.STARTED, False, Reason.JOB_PENDING, "Tuning job has not started")


def _refused(facts: Facts, reached: Reached, runs: bool) -> Told:
    """A change that is wrong stops nothing: the run before may go on."""
    goes_on = f"the run of revision {reached.run.get('revision')} goes on; " if runs else ""
    return Told(Type.STARTED, runs, Reason.REFUSED, goes_on + _problems(facts.refused))


def _retry(reached: Reached) -> str:
    """What the attempt before ended of, while another is made or runs."""
    over = [a for a in reached.attempts if a.get("kind") and a.get("endedAt")]
    if not over:
        return ""
    last = over[-1]
    cause = Cause(text(last, "kind"), text(last, "sentence"), "retried")
    return f"; attempt {last.get('attempt')} ended: {cause}"


def _success(output: Object) -> str:
    image, digest = text(output, "image"), text(output, "digest")
    if image and digest:
        return f"workspace succeeds: pushed {pinned(image, digest)}"
    if digest:
        return f"workspace succeeds: wrote {digest} to the output volume"
    where = f'; "tunery inspect {image}" tells it' if image else ""
    return f"workspace succeeds; the pod's last words were missed, so no digest is known{where}"


def pinned(image: str, digest: str) -> str:
    """The name to pull it by."""
    try:
        return str(parse(image).at(digest))
    except ValueError:
        return f"{image}@{digest}"


def _problems(problems: Sequence[Problem]) -> str:
    """All of them on one line, numbered."""
    lines = [short(problem.line()) for problem in problems[:_MOST_PROBLEMS]]
    if len(lines) == 1 == len(problems):
        return f"the Workspace is refused: {lines[0]}"
    listed = " ".join(f"({number}) {line}" for number, line in enumerate(lines, 1))
    more = len(problems) - len(lines)
    rest = f" … and {more} more" if more else ""
    return f"the Workspace is refused for {len(problems)} problems: {listed}{rest}"


def _as_before(type_: Type, was: Object) -> Told:
    message = text(was, "message").partition(ERROR)[0]
    return Told(type_, was.get("status") == "True", text(was, "reason"), message)


def _dated(told: Told, facts: Facts, was: Mapping[str, Object], now: str) -> dict[str, Any]:
    status = "True" if told.true else "False"
    before = was.get(told.type, {})
    since = text(before, "lastTransitionTime") if before.get("status") == status else ""
    error = f"{ERROR}{short(facts.error)})" if facts.error else ""
    return {
        "type": str(told.type),
        "status": status,
        "reason": str(told.reason),
        "message": told.message + error,
        "lastTransitionTime": since or now,
        "observedGeneration": facts.generation,
    }
