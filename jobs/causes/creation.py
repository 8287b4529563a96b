"""A Job that makes no pod: suspended, or its pods are refused before they exist."""

from __future__ import annotations

import re

from jobs.causes.cause import Cause, Why, short, waiting
from jobs.facts import Facts
from jobs.seen import Job, Pod

_FORBIDDEN = re.compile(r'^Error creating: pods "[^"]{1,253}" is forbidden: ')
_QUOTA = re.compile(r"exceeded quota: (\S{1,253}), requested: (.{1,300}?), used: ")
_UNSIZED_QUOTA = re.compile(r"failed quota: (\S{1,253}): must specify (.{1,300})")
_SECURITY = re.compile(r'violates PodSecurity "([^"]{1,100})": (.*)', re.DOTALL)
_WEBHOOK = re.compile(r'admission webhook "([^"]{1,253})" denied the request: ?(.*)', re.DOTALL)
_NO_WEBHOOK = re.compile(r'failed calling webhook "([^"]{1,253})"')


def suspended(job: Job, facts: Facts) -> Cause | None:
    """spec.suspend is set: by a queue such as Kueue, or by a person."""
    if not (job.suspended or facts.suspended):
        return None
    sentence = (
        f'the Job "{job.name}" is suspended; it goes on when its queue admits it, '
        "or when you set its spec.suspend to false"
    )
    return waiting(Why.SUSPENDED, sentence)


def pods_refused(job: Job, facts: Facts) -> Cause | None:
    """The API server refuses the Job's next pod; told only by events, which outlive their cause, so
    one counts when it is newer than the last pod."""
    if job.has_pods:
        return None
    last = max((_over_at(pod) for pod in facts.pods), default="")
    return refused(job.uid, facts, since=last)


def _over_at(pod: Pod) -> str:
    """When it was over; for ever when no container tells."""
    return max((c.finished_at for c in pod.containers if c.finished_at), default="9999")


def refused(uid: str, facts: Facts, since: str = "") -> Cause | None:
    """Why the API server refuses the pods of a Job or StatefulSet, as its events tell."""
    messages = [
        note.message
        for note in facts.seen.notes
        if note.about_uid == uid and note.reason == "FailedCreate" and note.at >= since
    ]
    return _refusal(_FORBIDDEN.sub("", messages[-1])) if messages else None


def _refusal(message: str) -> Cause:
    quota = _QUOTA.search(message)
    if quota:
        what = f'the namespace\'s quota "{quota[1]}" has no room for {quota[2]}'
        return waiting(Why.QUOTA, f"{what}; wait for another run to end, or ask for more")
    unsized = _UNSIZED_QUOTA.search(message)
    if unsized:
        what = f'the namespace\'s quota "{unsized[1]}" wants {unsized[2]} of every pod'
        return waiting(Why.QUOTA, f"{what}; give the namespace a LimitRange with defaults")
    security = _SECURITY.search(message)
    if security:
        what = f'Pod Security "{security[1]}" refuses the pod: {short(security[2], 300)}'
        return waiting(Why.POD_SECURITY, f"{what}; use a volume it allows, or another namespace")
    return _other(message)


def _other(message: str) -> Cause:
    webhook = _WEBHOOK.search(message)
    if webhook:
        what = f'the admission webhook "{webhook[1]}" refuses the pod: {short(webhook[2], 300)}'
        return waiting(Why.POD_REFUSED, f"{what}; ask whoever runs that policy")
    absent = _NO_WEBHOOK.search(message)
    if absent:
        what = f'the admission webhook "{absent[1]}" does not answer, so no pod can be made'
        return waiting(Why.POD_REFUSED, f"{what}; ask whoever runs it")
    if "because it is being terminated" in message:
        sentence = "the namespace is being deleted; use another one"
        return waiting(Why.POD_REFUSED, sentence)
    what = f"the API server refuses the pod: {short(message, 400)}"
    return waiting(Why.POD_REFUSED, f"{what}; ask whoever runs the cluster")
