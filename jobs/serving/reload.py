"""Live adapters: which pods have which set, who is told of another, and who cannot take it. Pure.

Part of jobs/serving/decide.py. The plan (a ConfigMap) says what is wanted; an annotation on the pod
makes the kubelet look at it now instead of within a minute; the server says what it has when it is
asked, which is done as long as that is not what is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from jobs import marks
from jobs.decision import Patch, Ref
from jobs.seen import Pod, Seen, Snapshot
from jobs.serving.order import ServeOrder
from jobs.serving.pod import PORT
from jobs.serving.said import life, prepared, reported
from jobs.serving.trouble import is_ready
from serving.lastwords import AdapterWords, ServeWords
from tuning.failure import Kind

_PASSING = frozenset({Kind.UNAVAILABLE.reason, Kind.NO_ACCESS.reason})
"""The pod tries these again."""


def is_news(snapshots: Sequence[Snapshot], wanted: ServeOrder) -> bool:
    """Whether the plan that is there asks for another set."""
    run, plan = marks.short(wanted.hash), wanted.plan
    there = (s for s in snapshots if s.run == run)
    return plan is not None and any(s.digest != plan.adapter_set for s in there)


def tell(seen: Seen, wanted: ServeOrder, namespace: str) -> Iterator[Patch]:
    """Wake the kubelets of pods that have another set, once for each set."""
    new = wanted.plan.adapter_set if wanted.plan else ""
    for pod in _of_run(seen, marks.short(wanted.hash)):
        if pod.adapters != new and _set_of(pod, seen, wanted.workspace.name) not in (None, new):
            ref = Ref("v1", "Pod", namespace, pod.name, pod.uid)
            # With the uid: a namesake made since has read the plan anyway.
            yield Patch(ref, {"metadata": {"uid": pod.uid, "annotations": {marks.ADAPTERS: new}}})


def cannot(seen: Seen, run: str, workspace: str, wanted: str) -> bool:
    """Whether a pod has said that only another pod can serve this set."""
    said = (reported(pod, workspace, seen) for pod in _of_run(seen, run))
    return any(one is not None and one.restart and one.adapter_set == wanted for one in said)


def unsettled(seen: Seen, wanted: ServeOrder) -> Mapping[str, str]:
    """Whom to ask what it has: life → URL."""
    name = wanted.workspace.name
    found: dict[str, str] = {}
    if not wanted.live or wanted.plan is None:
        return found
    for pod in _of_run(seen, marks.short(wanted.hash)):
        words, alive = reported(pod, name, seen), life(pod, name)
        settled = words is not None and _settled(words, wanted.plan.adapter_set)
        if alive and pod.ip and is_ready(pod) and not settled:
            found[alive] = pod.url(PORT, "/adapters")
    return found


def told_of(name: str, wanted: ServeOrder, told: Sequence[ServeWords]) -> AdapterWords | None:
    """What pods say of an adapter as it is wanted: the worst; None until all of them have it."""
    asked = next((p.asked() for p in wanted.sources.plans if p.name == name), None)
    found = [
        one for words in told for one in words.adapters if (one.name, one.asked) == (name, asked)
    ]
    bad = next((one for one in found if one.sentence), None)
    if bad is not None or (found and len(found) == len(told)):
        return bad or found[0]
    new = wanted.plan.adapter_set if wanted.plan else ""
    failed = next((w for w in told if w.state == "failed" and w.adapter_set == new), None)
    if failed is None:
        return None
    return AdapterWords(name=name, kind=failed.kind, sentence=f"adapter {name}: {failed.sentence}")


def _settled(words: ServeWords, wanted: str) -> bool:
    passes = any(one.kind in _PASSING for one in words.adapters if one.sentence)
    return words.adapter_set == wanted and words.state == "done" and not passes


def _of_run(seen: Seen, run: str) -> Iterator[Pod]:
    return (pod for pod in seen.pods if pod.run == run and not pod.deleting)


def _set_of(pod: Pod, seen: Seen, workspace: str) -> str | None:
    """Which set it has; None while it prepares."""
    words = reported(pod, workspace, seen) or prepared(pod)
    return words.adapter_set if words is not None else None
