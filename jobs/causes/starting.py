"""A pod that has a node and cannot start there: Secrets, ConfigMaps, volumes, the container itself.

Part of it stands in container statuses, part only in the events about the pod (FailedMount).
"""

from __future__ import annotations

import re

from jobs.causes.cause import Cause, Why, short, waiting
from jobs.facts import Facts
from jobs.seen import Pod

_START_REASONS = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
    }
)
_MOUNT_NOTES = frozenset({"FailedMount", "FailedAttachVolume"})
_MISSING = re.compile(r'(secret|configmap) "([^"]{1,253})" not found', re.IGNORECASE)
_KEY = re.compile(r"couldn't find key (\S{1,253}) in (Secret|ConfigMap) (\S{1,600})")
_NO_SUCH_KEY = re.compile(
    r'volume "([^"]{1,253})" : references non-existent (secret|config) key: (\S{1,253})'
)
_VOLUME = re.compile(r'for volume "([^"]{1,253})" : (.*)', re.DOTALL)
_SUBPATH = re.compile(r'image subpath "([^"]{1,500})"')
_ROOT = "runAsNonRoot and image will run as root"


def start_refused(pod: Pod, facts: Facts) -> Cause | None:
    """A container that the kubelet could not make or start."""
    for container in pod.containers:
        if container.state == "waiting" and container.reason in _START_REASONS:
            return _named(container.message, facts) or waiting(
                Why.START,
                f'the container "{container.name}" cannot start: {_why(container.message)}',
            )
    return None


def mount_failed(pod: Pod, facts: Facts) -> Cause | None:
    """A volume that cannot be mounted; told only by events, which outlive their cause."""
    if not waits_for_kubelet(pod):
        return None
    messages = [
        note.message
        for note in facts.seen.notes
        if note.about_uid == pod.uid and note.reason in _MOUNT_NOTES
    ]
    named = (cause for message in messages if (cause := _named(message, facts)))
    return next(named, None) or (_mount(messages[-1]) if messages else None)


def sandbox_failed(pod: Pod, facts: Facts) -> Cause | None:
    """The pod's network could not be made."""
    if not waits_for_kubelet(pod):
        return None
    for note in facts.seen.notes:
        if note.about_uid == pod.uid and note.reason == "FailedCreatePodSandBox":
            what = f'the node "{pod.node}" cannot make the pod\'s sandbox: {_tail(note.message)}'
            return waiting(Why.START, f"{what}; ask whoever runs the cluster, the node tries again")
    return None


def waits_for_kubelet(pod: Pod) -> bool:
    """On a node, and no container has run yet."""
    began = any(c.state in ("running", "terminated") for c in pod.containers)
    return bool(pod.node) and pod.phase == "Pending" and not began


def _named(message: str, facts: Facts) -> Cause | None:
    """A Secret or ConfigMap that is not there, or lacks a key."""
    missing = _MISSING.search(message)
    if missing:
        why, kind = _kind(missing[1])
        return waiting(why, _absent(kind, missing[2], facts))
    key = _KEY.search(message)
    if key:
        why, kind = _kind(key[2])
        name = key[3].rpartition("/")[2]
        return waiting(why, f'the {kind} "{name}" has no key {key[1]}; add it')
    lacks = _NO_SUCH_KEY.search(message)
    if lacks:
        why, kind = _kind(lacks[2])
        what = f'the {kind} of the volume "{lacks[1]}" has no key {lacks[3]}'
        return waiting(why, f"{what}; add it{_docker_hint(lacks[3])}")
    return None


def _kind(word: str) -> tuple[Why, str]:
    if word.lower() == "secret":
        return Why.SECRET_MISSING, "Secret"
    return Why.CONFIG_MAP_MISSING, "ConfigMap"


def _absent(kind: str, name: str, facts: Facts) -> str:
    field = _field_of(name, facts)
    named = f" that {field} names" if field else ""
    return f'the {kind} "{name}"{named} is not in this namespace; make it there'


def _field_of(name: str, facts: Facts) -> str:
    workspace = facts.workspace
    tuning = workspace.tuning if workspace else None
    inference = workspace.inference if workspace else None
    fields: dict[str, str] = {}
    for called, part in (("tuning", tuning), ("inference", inference)):
        if part and part.preset:
            path, options = f"{called}.preset.presetOptions", part.preset.options
            fields |= dict.fromkeys(options.image_pull_secrets, f"{path}.imagePullSecrets")
            fields[options.model_access_secret or ""] = f"{path}.modelAccessSecret"
    for number, adapter in enumerate(inference.adapters if inference else ()):
        path = f"inference.adapters[{number}].source.imagePullSecrets"
        secrets = adapter.source.image_pull_secrets if adapter.source else ()
        fields |= dict.fromkeys(secrets, path)
    if tuning is None:
        return fields.get(name, "")
    if tuning.input:
        fields |= dict.fromkeys(tuning.input.image_pull_secrets, "tuning.input.imagePullSecrets")
    if tuning.output:
        fields[tuning.output.image_push_secret or ""] = "tuning.output.imagePushSecret"
    return fields.get(name, "")


def _docker_hint(key: str) -> str:
    wanted = ".dockerconfigjson"
    return ", or make it with kubectl create secret docker-registry" if key == wanted else ""


def _mount(message: str) -> Cause:
    found = _VOLUME.search(message)
    what = (
        f'the volume "{found[1]}" cannot be mounted: {_tail(found[2])}'
        if found
        else f"a volume cannot be mounted: {short(message, 300)}"
    )
    return waiting(Why.MOUNT, f"{what}; check it with kubectl describe pod, the node tries again")


def _why(message: str) -> str:
    subpath = _SUBPATH.search(message)
    if subpath:
        return f'the image has no folder "{subpath[1]}"; push it again with that folder'
    if _ROOT in message:
        return "its image runs as root; build it with a USER that is not"
    return f"{_tail(message)}; check it with kubectl describe pod"


def _tail(message: str) -> str:
    """The end of a long chain of errors is its cause."""
    line = short(message, 2000)
    return line if len(line) <= 300 else "…" + line[-299:]
