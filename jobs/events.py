"""(previous status, next status) → the Kubernetes Events about what happened between them.

Each transition is told once: equal statuses give no event, and an operator that restarts reads the
previous status from the object. Called by jobs/decide.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from jobs.causes.cause import Why, short
from jobs.conditions import ERROR, Reason, Type
from jobs.decision import Event
from jobs.earlier import Object, section, text

_LONGEST = 1024  # of an Event's message; the API server refuses longer ones


class What(StrEnum):
    """Reasons of Events, beside those of the condition JobStarted while it waits."""

    NODES_READY = "NodesReady"
    NODES_NOT_READY = "NodesNotReady"
    JOB_STARTED = "JobStarted"
    TRAINING = "TrainingStarted"
    ATTEMPT_FAILED = "AttemptFailed"
    ROLLED = "ServingReplaced"
    RELOADED = "AdaptersChanged"
    SERVES = "InferenceReady"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    REPLACED = "RunReplaced"


_QUIET = frozenset(
    {"", Reason.JOB_PENDING, Reason.JOB_STARTED, Reason.INFERENCE_PENDING, Reason.INFERENCE_READY}
)
_NORMAL = frozenset({Reason.WAITING, Reason.ADAPTER_WAITS, Why.SUSPENDED, Why.GATED})


def events(previous: Object, following: Object) -> tuple[Event, ...]:
    """What to tell people, in the order in which it happened."""
    same_run = _hash(previous) == _hash(following)
    run_before = previous if same_run else {}
    return (
        *_replaced(previous, following),
        *_nodes(_condition(previous, Type.NODES), _condition(following, Type.NODES)),
        *_waits(previous, following),
        *_serves(previous, following),
        *_began(run_before, following),
        *_attempts(run_before, following),
        *_ended(run_before, following),
    )


def rolled(what: str) -> Event:
    """Another serving takes the place of one (jobs/serving/rolled.py)."""
    return _normal(What.ROLLED, what)


def reloaded(what: str) -> Event:
    """A running server takes over other adapters."""
    return _normal(What.RELOADED, what)


def _replaced(previous: Object, following: Object) -> Iterator[Event]:
    before, after = section(previous, "run"), section(following, "run")
    if not before or not after or before.get("hash") == after.get("hash"):
        return
    fate = "has ended" if before.get("outcome") else "is stopped"
    if _condition(following, Type.INFERENCE):
        fate = "serves until then"
    yield _normal(
        What.REPLACED,
        f"the Workspace or its configuration has changed: revision {after.get('revision')} "
        f"follows, revision {before.get('revision')} {fate}",
    )


def _nodes(before: Object, after: Object) -> Iterator[Event]:
    """How it was found at first is told by what follows: the Job starts, or the condition says why
    not."""
    if not before or after.get("status") == before.get("status"):
        return
    if after.get("status") == "True":
        yield _normal(What.NODES_READY, _message(after))
    else:
        yield _warning(What.NODES_NOT_READY, _message(after))


def _waits(previous: Object, following: Object) -> Iterator[Event]:
    """A refusal, or whatever keeps the Job from going on, when it is another than before."""
    for kind in (Type.STARTED, Type.INFERENCE):
        before, after = _condition(previous, kind), _condition(following, kind)
        reason, message = text(after, "reason"), _message(after)
        ended = text(section(following, "run"), "outcome") and reason != Reason.REFUSED
        if (
            ended
            or reason in _QUIET
            or (reason, message) == (text(before, "reason"), _message(before))
        ):
            continue
        yield _normal(reason, message) if reason in _NORMAL else _warning(reason, message)


def _serves(previous: Object, following: Object) -> Iterator[Event]:
    ready, was = _condition(following, Type.INFERENCE), _condition(previous, Type.INFERENCE)
    if ready.get("status") == "True" and was.get("status") != "True":
        yield _normal(What.SERVES, _message(ready))


def _began(before: Object, after: Object) -> Iterator[Event]:
    started, was = _condition(after, Type.STARTED), _condition(before, Type.STARTED)
    if started.get("status") == "True" and was.get("status") != "True":
        yield _normal(What.JOB_STARTED, _message(started))
    if "progress" in after and "progress" not in before:
        steps = section(after, "progress").get("of")
        yield _normal(What.TRAINING, f"training begins: {steps} steps")


def _attempts(before: Object, after: Object) -> Iterator[Event]:
    """Each attempt that failed, once; the sentence may have been known before the end."""
    known = {str(a.get("pod")) for a in _list(before, "attempts") if a.get("endedAt")}
    for attempt in _list(after, "attempts"):
        if attempt.get("endedAt") and attempt.get("kind") and str(attempt.get("pod")) not in known:
            yield _warning(What.ATTEMPT_FAILED, _attempt(attempt))


def _attempt(attempt: Object) -> str:
    step = attempt.get("step")
    at = f" at step {step} of {attempt.get('of')}" if step else ""
    where = f" on {attempt['node']}" if attempt.get("node") else ""
    name = f"attempt {attempt.get('attempt')} (pod {attempt.get('pod')}{where})"
    kept = f"; step {attempt['keptStep']} is kept" if attempt.get("keptStep") else ""
    return f"{name} ended{at}: {attempt.get('kind')}: {attempt.get('sentence')}{kept}"


def _ended(before: Object, after: Object) -> Iterator[Event]:
    outcome = text(section(after, "run"), "outcome")
    if not outcome or text(section(before, "run"), "outcome") == outcome:
        return
    told = _condition(after, Type.SUCCEEDED)
    message = _message(told)
    if told.get("reason") not in (Reason.SUCCEEDED, Reason.FAILED):
        # The Workspace has changed since and is refused: its conditions speak of that.
        message = f"the run of revision {section(after, 'run').get('revision')} has ended"
    if outcome == "Succeeded":
        yield _normal(What.SUCCEEDED, message)
    else:
        yield _warning(What.FAILED, message)


def _condition(status: Object, kind: Type) -> Object:
    return next((c for c in _list(status, "conditions") if c.get("type") == kind), {})


def _message(condition: Object) -> str:
    return text(condition, "message").partition(ERROR)[0]


def _list(status: Object, key: str) -> list[Mapping[str, Any]]:
    value = status.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _hash(status: Object) -> str:
    return text(section(status, "run"), "hash")


def _normal(reason: str, message: str) -> Event:
    return Event("Normal", str(reason), short(message, _LONGEST))


def _warning(reason: str, message: str) -> Event:
    return Event("Warning", str(reason), short(message, _LONGEST))
