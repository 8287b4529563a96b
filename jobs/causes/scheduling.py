"""A pod that no node takes: the scheduler's sentence, made readable.

Without its counts, which change whenever any node of the cluster does and would be told each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from jobs.causes.cause import Cause, Why, short, waiting
from jobs.facts import Facts
from jobs.seen import Condition, Pod

_LONGEST_LIST = 5
_GPU = "nvidia.com/gpu"
_HEAD = re.compile(r"^\d+/\d+ nodes are available: ")
# "no new claims to deallocate, preemption: 0/2 nodes are available: …" says nothing more.
_TAIL = re.compile(r"\.? (?:no new claims to deallocate, )?preemption: .*", re.DOTALL)
_COUNT = re.compile(r"^\d+ (?:node\(s\) )?")
_TAINT = re.compile(r"(?:untolerated taint|had taint) \{([^{}]{1,200})\}")


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why some of the nodes do not fit, and what to do if this is what matters."""

    text: str
    do: str


_Reader = Callable[[str, Facts], _Reason | None]


def unschedulable(pod: Pod, facts: Facts) -> Cause | None:
    """A pod without a node, once the scheduler has said why."""
    said = next((c for c in pod.conditions if c.type == "PodScheduled"), None)
    if said is None or said.status != "False":
        return None
    if said.reason == "SchedulingGated":
        sentence = "the pod has scheduling gates; whoever set them (a queue) must remove them"
        return waiting(Why.GATED, sentence)
    return waiting(Why.UNSCHEDULABLE, _sentence(said, facts)) if said.message else None


def _sentence(said: Condition, facts: Facts) -> str:
    if said.message.startswith("no nodes available"):
        return "no node takes the pod: the cluster has none; add one"
    body = _TAIL.sub("", _HEAD.sub("", said.message)).rstrip(". ")
    read = {_read(_COUNT.sub("", part), facts): None for part in body.split(", ")}
    reasons = [reason for _, reason in sorted(read, key=lambda ranked: ranked[0])]
    listed = ", or ".join(reason.text for reason in reasons[:_LONGEST_LIST])
    return f"no node takes the pod: {listed}; {reasons[0].do}"


def _read(part: str, facts: Facts) -> tuple[int, _Reason]:
    """(rank, reason): the lowest rank is what a person should look at first."""
    for rank, reader in enumerate(_READERS):
        reason = reader(part, facts)
        if reason is not None:
            return rank, reason
    return len(_READERS), _Reason(short(part, 200), "ask whoever runs the cluster")


def _claim(part: str, facts: Facts) -> _Reason | None:
    missing = re.search(r'persistentvolumeclaim "([^"]{1,253})" not found', part)
    if missing:
        claim = f'the PersistentVolumeClaim "{missing[1]}"'
        return _Reason(f"{claim} does not exist", "make it in the Workspace's namespace")
    if "unbound immediate PersistentVolumeClaims" in part:
        text = "a PersistentVolumeClaim of the pod has no volume yet"
        return _Reason(text, "check its storage class with kubectl describe pvc")
    return None


def _insufficient(part: str, facts: Facts) -> _Reason | None:
    found = re.fullmatch(r"Insufficient (\S{1,100})", part)
    if not found:
        return None
    what = found[1]
    text = f"too little free {what}"
    if what == _GPU:
        count = facts.gpus_per_pod or 1
        return _Reason(text, f"wait for another pod to end, or add a node with {count} free GPU(s)")
    if what == "memory" and facts.memory_gib:
        return _Reason(text, f"add a node with {facts.memory_gib} GiB of free memory")
    return _Reason(text, f"add a node with more {what}, or wait for another pod to end")


def _affinity(part: str, facts: Facts) -> _Reason | None:
    if "node affinity/selector" not in part:
        return None
    do = "label a node as resource.labelSelector and resource.instanceType say, or change those"
    return _Reason("other labels than the Workspace asks for", do)


def _volume_elsewhere(part: str, facts: Facts) -> _Reason | None:
    if (
        "volume node affinity conflict" not in part
        and "PersistentVolume's node affinity" not in part
    ):
        return None
    text = "a volume that is in another zone or on another node"
    return _Reason(text, "use a node there, or a volume that all nodes reach")


def _taint(part: str, facts: Facts) -> _Reason | None:
    found = _TAINT.search(part)
    if not found and "untolerated taint" not in part:
        return None
    key, _, value = found[1].partition(": ") if found else ("", "", "")
    text = "a taint that the pod does not tolerate"
    if key:
        text = f"the taint {key.rstrip(':')}{'=' if value else ''}{value}, which is not tolerated"
    return _Reason(text, "remove the taint from a node that should train")


def _cordoned(part: str, facts: Facts) -> _Reason | None:
    if part != "were unschedulable":
        return None
    return _Reason("cordoned", "kubectl uncordon it, or wait until its maintenance is over")


def _full(part: str, facts: Facts) -> _Reason | None:
    if part != "Too many pods":
        return None
    return _Reason("as many pods as a node may have", "wait for another pod to end, or add a node")


_READERS: tuple[_Reader, ...] = (
    _claim,
    _insufficient,
    _volume_elsewhere,
    _full,
    _affinity,
    _cordoned,
    _taint,
)
