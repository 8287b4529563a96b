"""Pod and Job → root cause: small pure detectors, tried in order, the root cause first.

Called by jobs/attempts.py (why did this pod end?) and jobs/conditions.py (why does nothing run, why
did the Job fail?). A cause never makes a Workspace Failed; only the Job's own condition does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.causes import creation, ends, images, scheduling, starting
from jobs.causes.cause import Cause, OfJob, OfPod, Why, short, waiting
from jobs.causes.ends import DEADLINE, ended, of_kind
from jobs.facts import Facts
from jobs.seen import Condition, Job, Pod
from tuning.failure import Kind

__all__ = [
    "Cause",
    "Why",
    "end_of",
    "ended",
    "failed_condition",
    "failure_of",
    "waiting_of",
    "waits",
]

ENDS: tuple[OfPod, ...] = (
    ends.said_so,
    ends.out_of_memory,
    ends.deadline,
    ends.evicted,
    ends.disrupted,
    ends.node_refused,
    ends.suspended_meanwhile,
    ends.by_exit_code,
    ends.deleted,
    ends.failed_without_words,
)
WAITS: tuple[OfPod, ...] = (
    images.image_pull,
    starting.start_refused,
    starting.mount_failed,
    starting.sandbox_failed,
    scheduling.unschedulable,
)
JOB_WAITS: tuple[OfJob, ...] = (creation.suspended, creation.pods_refused)

_EXIT_CODE = re.compile(r"^Container \S+ for pod \S+ failed with exit code (\d{1,3}) ")


def end_of(pod: Pod, facts: Facts) -> Cause | None:
    """Why the pod ended or is being taken away; None while it works, and when it succeeded."""
    if pod.phase == "Succeeded" or not (ended(pod) or ends.failed(pod) or _taken(pod)):
        return None
    return next((cause for detect in ENDS if (cause := detect(pod, facts))), None)


def waiting_of(facts: Facts) -> Cause | None:
    """What nothing goes on for until somebody acts; None while all is well or still starting."""
    job = facts.job
    if job is None:
        return None
    of_job = next((cause for detect in JOB_WAITS if (cause := detect(job, facts))), None)
    pods = facts.pods
    if of_job or not pods or ended(pods[-1]):
        return of_job
    return waits(pods[-1], facts)


def waits(pod: Pod, facts: Facts) -> Cause | None:
    """What a pod cannot start for, or go on."""
    found = next((cause for detect in WAITS if (cause := detect(pod, facts))), None)
    return found or _node_lost(pod, facts)


def failure_of(facts: Facts, attempts: Sequence[Mapping[str, Any]]) -> Cause:
    """Why the Job has failed for good: its deadline, its last attempt, or what it says itself."""
    job = facts.job
    condition = failed_condition(job) if job else None
    if condition and condition.reason == "DeadlineExceeded":
        return DEADLINE
    last = _last(attempts)
    if last:
        return last
    message = condition.message if condition else ""
    code = _EXIT_CODE.match(message)
    kind = Kind.of(int(code[1])) if code else None
    if kind:
        return of_kind(kind, "", facts)
    told = short(message) or "the Job does not say why"
    return Cause(Why.JOB_FAILED, f"{told}; its pods were gone before they were seen", "final")


def failed_condition(job: Job) -> Condition | None:
    """The Job's condition Failed, if it is true."""
    return next((c for c in job.conditions if c.type == "Failed" and c.status == "True"), None)


def _last(attempts: Sequence[Mapping[str, Any]]) -> Cause | None:
    told = [a for a in attempts if a.get("kind") and a.get("sentence")]
    return Cause(str(told[-1]["kind"]), str(told[-1]["sentence"]), "final") if told else None


def _taken(pod: Pod) -> bool:
    """On its way out: the conditions come before the end."""
    return pod.deleting or any(
        c.type == "DisruptionTarget" and c.status == "True" for c in pod.conditions
    )


def _node_lost(pod: Pod, facts: Facts) -> Cause | None:
    """The pod's node does not answer: the Job waits for it, and makes no other pod meanwhile."""
    nodes = facts.seen.nodes
    node = next((n for n in nodes if n.name == pod.node), None) if pod.node else None
    if not pod.node or not nodes or (node and node.ready):
        return None
    state = "does not answer" if node else "is gone"
    then = "another pod takes its place when Kubernetes has given it up"
    return waiting(Why.NODE_LOST, f'the node "{pod.node}" {state}; {then}')
