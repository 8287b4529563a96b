"""Why a pod has ended, or is about to: its own words, the kernel, the kubelet, the node, the Job.

Root cause first: a pod that was evicted also says that it was interrupted, and one that ran out of
memory also has an exit code.
"""

from __future__ import annotations

import re

from jobs.causes.cause import Cause, Why, retried, short
from jobs.causes.words import words
from jobs.facts import Facts
from jobs.seen import Condition, Container, Pod
from tuning.failure import Kind
from tuning.lastwords import LastWords

_SIGKILL = 137
_NOT_STARTED = frozenset({"StartError", "ContainerCannotRun"})
_ADMISSION = re.compile(r"UnexpectedAdmissionError|OutOf\S+|NodeAffinity|Topology\S*Error")


def said_so(pod: Pod, facts: Facts) -> Cause | None:
    """The pod named the kind itself; to have been interrupted is no root cause."""
    for container in failed(pod):
        said = words(container.message)
        kind = _kind(said)
        if said and kind and kind is not Kind.INTERRUPTED:
            return of_kind(kind, said.sentence or "", facts)
    return None


def out_of_memory(pod: Pod, facts: Facts) -> Cause | None:
    """The kernel killed it at the memory limit: by `reason`, as 137 is any SIGKILL."""
    for container in failed(pod):
        if container.reason == "OOMKilled":
            limit = f": its limit is {facts.memory_gib} GiB" if facts.memory_gib else ""
            predicted = f", {facts.card_gib:.1f} GiB were predicted" if facts.card_gib else ""
            sentence = (
                f'the container "{container.name}" ran out of memory{_reached(container)}{limit}'
                f"{predicted}; shorten the rows (max_length), or ask whoever runs Tunery for more"
            )
            return retried(Why.OOM_KILLED, sentence)
    return None


def deadline(pod: Pod, facts: Facts) -> Cause | None:
    """The Job's activeDeadlineSeconds is over; earlier attempts had other ends."""
    job = facts.job if _last(pod, facts) else None
    over = job and any(
        c.reason == "DeadlineExceeded" and c.status == "True" for c in job.conditions
    )
    if over or pod.reason == "DeadlineExceeded":
        return DEADLINE
    return None


def evicted(pod: Pod, facts: Facts) -> Cause | None:
    """The kubelet needed the room: disk or memory, the node's or beyond the pod's own limit."""
    target = _disruption(pod)
    by_kubelet = target is not None and target.reason == "TerminationByKubelet"
    if pod.reason != "Evicted" and not by_kubelet:
        return None
    message = pod.message or (target.message if target else "")
    where = f'by the node "{pod.node}": {short(message, 300).rstrip(".")}'
    if "exceeds the" in message or "exceeded its local" in message:
        do = "the run needs more disk than predicted; take a smaller data set or a volume"
        return retried(Why.EVICTED, f"the pod was evicted {where}; {do}")
    if "low on resource: memory" in message or "MemoryPressure" in message:
        do = "other pods there use more than they asked for"
        return retried(Why.MEMORY_PRESSURE, f"the pod was evicted {where}; {do}")
    do = "free disk space there, or choose a node with a larger disk"
    return retried(Why.DISK_PRESSURE, f"the pod was evicted {where}; {do}")


def disrupted(pod: Pod, facts: Facts) -> Cause | None:
    """Somebody took the pod away: scheduler, drain, taint, node shutdown, garbage collection."""
    target = _disruption(pod)
    reason = target.reason if target else ""
    if reason == "PreemptionByScheduler":
        sentence = f'a pod of higher priority took its place on the node "{pod.node}"'
        return retried(Why.PREEMPTED, sentence)
    if reason in ("DeletionByTaintManager", "DeletionByPodGC") or pod.reason == "NodeLost":
        return retried(Why.NODE_LOST, f'the node "{pod.node}" was lost')
    if pod.reason in ("Terminated", "NodeShutdown", "Shutdown"):
        return retried(Why.NODE_SHUTDOWN, f'the node "{pod.node}" was shut down')
    if reason:
        sentence = f'the pod was asked to leave the node "{pod.node}" (drain or eviction)'
        return retried(Why.EVICTED, sentence)
    return None


def node_refused(pod: Pod, facts: Facts) -> Cause | None:
    """Scheduled, and then refused by the node's kubelet."""
    if pod.phase != "Failed" or not _ADMISSION.fullmatch(pod.reason):
        return None
    what = f'the node "{pod.node}" refused the pod ({short(pod.message or pod.reason, 300)})'
    do = "check its device plugin and what else uses its GPUs"
    return retried(Why.NODE_REFUSED, f"{what}; {do}")


def suspended_meanwhile(pod: Pod, facts: Facts) -> Cause | None:
    """The Job was suspended under a running pod."""
    job = facts.job
    if not (_last(pod, facts) and (facts.suspended or (job and job.suspended))):
        return None
    return retried(Why.SUSPENDED, "the Job was suspended; it goes on when that is lifted")


def by_exit_code(pod: Pod, facts: Facts) -> Cause | None:
    """What the exit code alone says."""
    for container in failed(pod):
        kind = Kind.of(container.exit_code or 0)
        said = words(container.message)
        if kind:
            return of_kind(kind, (said.sentence if said else "") or "", facts)
        if container.reason in _NOT_STARTED:
            what = f'the container "{container.name}" could not start'
            return retried(Why.START, f"{what}: {short(container.message, 400)}; check its image")
        return _unknown_exit(container)
    return None


def deleted(pod: Pod, facts: Facts) -> Cause | None:
    """Somebody deleted the pod, and nothing says why."""
    if not pod.deleting:
        return None
    return retried(Why.POD_DELETED, "the pod was deleted by hand or by a controller")


def failed_without_words(pod: Pod, facts: Facts) -> Cause | None:
    """Phase Failed and no container says anything: the last resort."""
    if pod.phase != "Failed":
        return None
    told = short(f"{pod.reason}: {pod.message}".strip(": "), 400) or "it gives no reason"
    return retried(Why.FAILED, f"the pod failed ({told}); see kubectl describe pod {pod.name}")


DISRUPTIONS = (evicted, disrupted, node_refused, failed_without_words)
"""Ends of any pod, also of one that is no Job's."""


def of_kind(kind: Kind, sentence: str, facts: Facts) -> Cause:
    """A kind of tuning/failure.py with the pod's sentence, or a sentence of its own."""
    text = short(sentence) or f"exit code {kind.exit_code} and not a word more; see the pod's log"
    if kind is Kind.OUT_OF_MEMORY and facts.card_gib:
        text = f"{text} (predicted: {facts.card_gib:.1f} GiB per card)"
    return Cause(kind.reason, text, "final" if kind.value.final else "retried")


def failed(pod: Pod) -> list[Container]:
    """Containers that ended badly, in the order in which they ran."""
    return [c for c in pod.containers if c.state == "terminated" and c.exit_code]


def ended(pod: Pod) -> bool:
    """Over for good, whatever it reached."""
    return pod.phase in ("Succeeded", "Failed")


DEADLINE = Cause(
    Why.DEADLINE,
    "the Job ran longer than its activeDeadlineSeconds; raise it, or shorten the run",
    "final",
)


def _last(pod: Pod, facts: Facts) -> bool:
    return facts.pods[-1].uid == pod.uid


def _kind(said: LastWords | None) -> Kind | None:
    if said is None or said.state != "failed":
        return None
    return next((kind for kind in Kind if kind.reason == said.kind), None)


def _disruption(pod: Pod) -> Condition | None:
    targets = (c for c in pod.conditions if c.type == "DisruptionTarget" and c.status == "True")
    return next(targets, None)


def _unknown_exit(container: Container) -> Cause:
    name, code = container.name, container.exit_code
    if code == _SIGKILL:
        what = f'the container "{name}" was killed from outside{_reached(container)}'
        do = "look at the log of its node"
        return retried(Why.KILLED, f"{what}; {do}")
    what = f'the container "{name}" ended with the code {code}{_reached(container)}'
    said = "" if words(container.message) else short(container.message, 400)
    return retried(Why.FAILED, f"{what}{f': {said}' if said else ''}; see its log")


def _reached(container: Container) -> str:
    """` during train, at step 7 of 64`, from what it said last."""
    said = words(container.message)
    if said is None:
        return ""
    step = f", at step {said.step} of {said.of}" if said.step is not None and said.of else ""
    return f" during {said.phase}{step}"
