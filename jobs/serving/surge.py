"""One pod more while the only one is replaced, where a node is there for it: the old one answers.

Part of jobs/serving/decide.py. A StatefulSet cannot do that by itself, but it makes a new ordinal
of its new template first, waits until it is ready, and only then replaces the others. So it is
given one replica more, and loses it when all are new, or when no node takes it after all. An
annotation remembers it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs import marks
from jobs.case import Case
from jobs.decision import Patch, Ref
from jobs.seen import Holder, Pod
from jobs.serving.order import ServeOrder
from jobs.serving.trouble import is_ready


def has_room(case: Case, wanted: ServeOrder) -> bool:
    """Whether the only pod answers now, and a node more than it needs is there.

    Not with volumes: many can be mounted on one node only, and the second pod would wait for ever.
    """
    count = case.workspace.resource.count
    answers = any(is_ready(pod) for pod in case.seen.pods)
    images_only = all("image" in mount.source for mount in wanted.sources.mounts)
    alone = wanted.plan is not None and images_only
    return count == 1 and answers and alone and len(case.nodes.usable) > count


def ended(case: Case, wanted: ServeOrder, there: Holder) -> Iterator[Patch]:
    """Back to the usual number, once all pods are new or the one more is of no use."""
    count, run = case.workspace.resource.count, marks.short(wanted.hash)
    if not there.surge:
        return
    new = [pod for pod in case.seen.pods if pod.run == run and not pod.deleting]
    extra = next((pod for pod in new if pod.name == f"{there.name}-{count}"), None)
    all_new = sum(map(is_ready, new)) > count and len(new) == len(case.seen.pods)
    refused = any((n.about_uid, n.reason) == (there.uid, "FailedCreate") for n in case.seen.notes)
    if all_new or refused or (extra is not None and _fits_nowhere(extra)):
        ref = Ref("apps/v1", "StatefulSet", case.owner.namespace, there.name, there.uid)
        metadata = {"uid": there.uid, "annotations": {marks.SURGE: None}}
        yield Patch(ref, {"metadata": metadata, "spec": {"replicas": count}})


def _fits_nowhere(pod: Pod) -> bool:
    return any(c.type == "PodScheduled" and c.reason == "Unschedulable" for c in pod.conditions)
