"""Pods of nodes that do not answer: after a while they are given up, and others take their place.

Part of jobs/decide.py. Kubernetes deletes such a pod after five minutes, and then waits for its
node to say that it is gone: for ever. The Job makes no other pod meanwhile (seen: it has one that
is `terminating`), and neither does a StatefulSet. To give one up is safe here: a run is
deterministic, so that two pods of it push the same bytes, and a server keeps nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jobs.decision import Delete, Ref
from jobs.progress import seconds
from jobs.seen import Node, Pod


@dataclass(frozen=True, slots=True)
class Lost:
    """What is given up now, and when to look again."""

    given_up: tuple[Delete, ...] = ()
    again_after_s: float | None = None


def lost(
    pods: Sequence[Pod], nodes: Sequence[Node], namespace: str, now: str, patience_s: float
) -> Lost:
    """Pods of ours that should have been gone for `patience_s`, on nodes that do not answer."""
    silent = {node.name for node in nodes if not node.ready}
    waits = [(pod, patience_s - _overdue_s(pod, now)) for pod in _stuck(pods, silent)]
    over = tuple(_force(pod, namespace) for pod, wait_s in waits if wait_s <= 0)
    return Lost(over, min((wait_s for _, wait_s in waits if wait_s > 0), default=None))


def _stuck(pods: Sequence[Pod], silent: set[str]) -> Iterator[Pod]:
    return (pod for pod in pods if pod.run and pod.gone_by and pod.node in silent)


def _overdue_s(pod: Pod, now: str) -> float:
    return seconds(pod.gone_by, now)


def _force(pod: Pod, namespace: str) -> Delete:
    return Delete(Ref("v1", "Pod", namespace, pod.name, pod.uid), at_once=True)
