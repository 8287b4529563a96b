"""Facts → the whole wanted `.status` of a Workspace. Last step of jobs/decide.py; pure.

The status is also the operator's only memory: what pods said before they were gone, and that a run
has ended. Its parts are made in the files beside this one; equal facts and an equal clock give an
equal status, and a status made from itself is itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs import progress
from jobs.attempts import merged
from jobs.causes import ended, failed_condition
from jobs.conditions import conditions, state
from jobs.earlier import Earlier, earlier, text
from jobs.facts import Facts, NodesVerdict, WantedRun
from jobs.output import output
from jobs.reached import Reached
from jobs.seen import Pod
from jobs.serving.remembered import adapters

__all__ = ["Facts", "NodesVerdict", "WantedRun", "status"]

Object = Mapping[str, Any]


def status(facts: Facts, previous: Object, now: str) -> dict[str, Any]:
    """What the Workspace's status should be; `previous` is the last one written, `now` RFC 3339."""
    before, pods = earlier(previous, facts), facts.pods
    attempts = merged(before, facts, pods, now) if facts.run else list(before.attempts)
    run = _run(before, facts, pods, now)
    succeeded = text(run, "outcome") == "Succeeded"
    made = output(before.output, facts, pods) if succeeded else dict(before.output)
    reached = Reached(run, attempts, made or {})
    found = conditions(facts, reached, before, now)
    parts = {
        "run": run,
        "attempts": attempts,
        "progress": progress.told(before.progress, facts, reached, now),
        "output": made,
    }
    return {
        "state": state(facts, reached, found),
        "conditions": found,
        "workerNodes": _workers(facts, reached, before),
        "targetNodeCount": facts.nodes.target,
        "observedGeneration": facts.generation,
        **{name: part for name, part in parts.items() if part},
        **_adapters(facts, previous),
    }


def _adapters(facts: Facts, previous: Object) -> dict[str, Any]:
    """Of an inference Workspace; kept while it cannot be read, as pins stand there."""
    told = facts.serving.adapters if facts.serving else adapters(previous)
    return {"adapters": list(told)} if told and facts.kind == "inference" else {}


def _run(before: Earlier, facts: Facts, pods: Sequence[Pod], now: str) -> dict[str, Any]:
    """`status.run`. Once it has an outcome, nothing changes that any more."""
    wanted = facts.run
    if wanted is None:
        return dict(before.run)
    outcome = before.outcome or _outcome(facts, pods)
    found = {
        "revision": wanted.revision,
        "hash": wanted.hash,
        "snapshot": wanted.snapshot,
        "startedAt": text(before.run, "startedAt") or _started_at(facts, pods, outcome),
        "finishedAt": text(before.run, "finishedAt") or _finished_at(facts, pods, outcome, now),
        "outcome": outcome,
    }
    return {name: value for name, value in found.items() if value != ""}


def _outcome(facts: Facts, pods: Sequence[Pod]) -> str:
    """Succeeded as soon as a pod has; Failed only when the Job has."""
    job = facts.job
    if (job and job.succeeded) or any(pod.phase == "Succeeded" for pod in pods):
        return "Succeeded"
    return "Failed" if job and failed_condition(job) else ""


def _started_at(facts: Facts, pods: Sequence[Pod], outcome: str) -> str:
    """When the first container ran; of a Job whose pods nobody saw, when the Job began."""
    first = min((c.started_at for pod in pods for c in pod.containers if c.started_at), default="")
    job = facts.job
    unseen = job is not None and not pods and (job.ready or job.failed or outcome)
    return first or (job.started_at if job and unseen else "")


def _finished_at(facts: Facts, pods: Sequence[Pod], outcome: str, now: str) -> str:
    if not outcome:
        return ""
    job = facts.job
    failed = failed_condition(job) if job else None
    of_job = (job.completed_at if job else "") or (failed.since if failed else "")
    of_pod = max((c.finished_at for p in pods if ended(p) for c in p.containers), default="")
    return of_job or of_pod or now


def _workers(facts: Facts, reached: Reached, before: Earlier) -> list[str]:
    """Those that match now; of a finished run, those that did at its end."""
    return list(
        before.workers if reached.outcome and before.workers else sorted(facts.nodes.workers)
    )
