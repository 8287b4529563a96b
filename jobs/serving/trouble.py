"""Why a serving pod does not answer: it cannot start, or its containers end again and again. Pure.

Beside jobs/causes, which knows why pods wait and why those of a Job end. Here containers are
started again for ever, and `prepare` says in its last words what it could not do.
"""

from __future__ import annotations

from jobs.causes import waits
from jobs.causes.cause import Cause, Why, retried, short
from jobs.causes.ends import DISRUPTIONS
from jobs.facts import Facts
from jobs.seen import Container, Pod
from jobs.serving.said import said

CRASH_LOOP = "ContainerCrashLoopBackOff"
"""KAITO's word; a Job's containers are not started again."""
_NOT_STARTED = frozenset({"StartError", "ContainerCannotRun"})
_LONGEST_LINE = 300


def trouble(pod: Pod, facts: Facts) -> Cause | None:
    """The root cause; None while the pod answers or is only starting."""
    if is_ready(pod) or pod.deleting:
        return None
    if pod.phase == "Failed":
        found = (cause for detect in DISRUPTIONS if (cause := detect(pod, facts)))
        return next(found, None)
    return waits(pod, facts) or _ended_again(pod, facts)


def is_ready(pod: Pod) -> bool:
    """Every model of it has answered (the readiness probe asks serving/chat)."""
    ready = any(c.type == "Ready" and c.status == "True" for c in pod.conditions)
    return ready and not pod.deleting


def _ended_again(pod: Pod, facts: Facts) -> Cause | None:
    """The last end of a container that is started again."""
    for container in pod.containers:
        end = container if container.state == "terminated" else container.last
        if end is not None and (end.exit_code or not end.init):
            return _of_words(end) or _of_end(end, facts)
    return None


def _of_words(end: Container) -> Cause | None:
    words = said(end)
    if words is None or words.state != "failed" or not words.kind:
        return None
    return retried_as(words.kind, words.sentence or "it does not say why; see its log")


def _of_end(end: Container, facts: Facts) -> Cause:
    name = end.name
    if end.reason == "OOMKilled":
        do = "serve a smaller model, or ask whoever runs Tunery for more (serving.memoryGiB)"
        limit = f": its limit is {facts.memory_gib} GiB" if facts.memory_gib else ""
        return retried(Why.OOM_KILLED, f'the container "{name}" ran out of memory{limit}; {do}')
    if end.reason in _NOT_STARTED:
        what = f'the container "{name}" could not start: {short(end.message, _LONGEST_LINE)}'
        return retried(Why.START, f"{what}; check its image")
    what = f'the container "{name}" ends again and again with the code {end.exit_code}'
    return retried_as(CRASH_LOOP, f"{what}{_told(end.message)}; see kubectl logs --previous")


def _told(message: str) -> str:
    """Of the end of a log, the last line that speaks of an error, else the last."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    line = next(reversed(errors or lines), "")
    return f": {short(line, _LONGEST_LINE)}" if line else ""


def retried_as(kind: str, sentence: str) -> Cause:
    """A kind that the pod names itself."""
    return Cause(kind, short(sentence), "retried")
