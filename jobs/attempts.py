"""The attempts of a run, kept after their pods have vanished: `status.attempts`.

One pod is one attempt. A pod is gone a second or two after its end, so what it said is taken as
soon as it is seen, and nothing that was told is forgotten again. Called by jobs/status.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from jobs.causes import Cause, end_of, ended
from jobs.causes.cause import Why, short
from jobs.causes.words import words
from jobs.earlier import Earlier, Object, text
from jobs.facts import Facts
from jobs.seen import Pod
from tuning.lastwords import LastWords

MOST = 10
_LONGEST_SENTENCE = 500
_GONE = Cause(Why.POD_GONE, "the pod vanished before its end was seen", "retried")
_SUSPENDED = Cause(Why.SUSPENDED, "the Job was suspended", "retried")

Attempt = dict[str, Any]


def merged(earlier: Earlier, facts: Facts, pods: Sequence[Pod], now: str) -> list[Attempt]:
    """What is known of earlier, and what is seen now; the newest ten, oldest first.

    An attempt begins when a container of its pod does.
    """
    found = {text(a, "pod"): dict(a) for a in earlier.attempts}
    number = max((_number(a) for a in found.values()), default=0)
    for pod in pods:
        if pod.name in found:
            found[pod.name] = _updated(found[pod.name], pod, earlier, facts, now)
        elif _began(pod) and not _forgotten(pod, list(found.values())):
            number += 1
            new = {"attempt": number, "pod": pod.name}
            found[pod.name] = _updated(new, pod, earlier, facts, now)
    present = {pod.name for pod in pods}
    for name in found.keys() - present:
        found[name] = _vanished(found[name], earlier, facts, now)
    return list(found.values())[-MOST:]


def words_of(pod: Pod) -> Iterator[LastWords]:
    """What its containers said, the last one first."""
    for container in reversed(pod.containers):
        said = words(container.message) if container.state == "terminated" else None
        if said:
            yield said


def _updated(attempt: Attempt, pod: Pod, earlier: Earlier, facts: Facts, now: str) -> Attempt:
    """With what the pod shows now. What an attempt ended of is told once."""
    new = {"node": pod.node, "startedAt": _scheduled_at(pod), **_reached(pod)}
    result = {**attempt, **{k: v for k, v in new.items() if v not in ("", None)}}
    if "endedAt" in attempt:
        return result
    result |= _told(end_of(pod, facts))
    return _over(result, _ended_at(pod) or now, earlier.progress) if ended(pod) else result


def _vanished(attempt: Attempt, earlier: Earlier, facts: Facts, now: str) -> Attempt:
    """The pod is gone, and nobody saw it end."""
    if "endedAt" in attempt:
        return attempt
    job = facts.job
    if earlier.outcome == "Succeeded" or (job and job.succeeded):
        completed = text(earlier.run, "finishedAt") or (job.completed_at if job else "")
        return _over(attempt, completed or now, earlier.progress)
    suspended = facts.suspended or (job is not None and job.suspended)
    told = {} if attempt.get("kind") else _told(_SUSPENDED if suspended else _GONE)
    return _over({**attempt, **told}, now, earlier.progress)


def _told(cause: Cause | None) -> Attempt:
    if cause is None:
        return {}
    return {"kind": str(cause.reason), "sentence": short(cause.sentence, _LONGEST_SENTENCE)}


def _over(attempt: Attempt, at: str, progress: Object) -> Attempt:
    """Ended; where it ended without a word, at the last step that was heard of."""
    over = {**attempt, "endedAt": at}
    if "step" in over:
        return over
    if "kind" not in over:
        return {**over, "step": over["of"]} if "of" in over else over
    began, heard = text(over, "startedAt"), text(progress, "updatedAt")
    steps = {k: progress[k] for k in ("step", "of") if k in progress}
    return {**over, **steps} if began and began <= heard <= at else over


def _began(pod: Pod) -> bool:
    return ended(pod) or any(c.started_at for c in pod.containers)


def _forgotten(pod: Pod, found: Sequence[Attempt]) -> bool:
    """An old pod, still there, whose attempt has made room for newer ones."""
    return len(found) >= MOST and pod.created_at < text(found[0], "startedAt")


def _scheduled_at(pod: Pod) -> str:
    """From then on it holds its GPUs."""
    scheduled = (c.since for c in pod.conditions if c.type == "PodScheduled" and c.status == "True")
    return next(scheduled, "") or pod.created_at


def _ended_at(pod: Pod) -> str:
    return max((c.finished_at for c in pod.containers), default="")


def _reached(pod: Pod) -> Attempt:
    """The last step of which any container spoke."""
    for said in words_of(pod):
        if said.of:
            found = {"step": said.step, "of": said.of, "keptStep": said.kept_step}
            return {name: value for name, value in found.items() if value is not None}
    return {}


def _number(attempt: Object) -> int:
    number = attempt.get("attempt")
    return number if isinstance(number, int) else 0
