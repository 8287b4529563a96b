"""What the last status said of adapters: pins, and images that the kubelet could not mount. Pure.

The status is the operator's only memory. People can edit it: nothing is trusted to have its type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs.causes.images import REASONS
from jobs.earlier import text
from jobs.seen import Pod
from jobs.serving.sources import Pin, Sources

Object = Mapping[str, Any]


def pins(previous: Object) -> tuple[Pin, ...]:
    """What adapters of tuning Workspaces were when they were first served."""
    return tuple(
        Pin(
            name=text(one, "name"),
            workspace=text(one, "workspace"),
            image=text(one, "image"),
            revision=text(one, "baseRevision"),
            secret=text(one, "pullSecret"),
        )
        for one in adapters(previous)
        if text(one, "workspace") and "@sha256:" in text(one, "image")
    )


def unmountable(previous: Object, pods: Sequence[Pod], sources: Sources) -> frozenset[str]:
    """Images of adapters that `prepare` must pull, so that a bad one does not stop the others."""
    known = {text(one, "image") for one in adapters(previous) if one.get("pulled") is True}
    failing = {image for pod in pods for image in _failing(pod)}
    wanted = {origin.removesuffix(" pulled") for origin in sources.origins}
    return frozenset((known | failing) & wanted)


def adapters(previous: Object) -> list[Object]:
    """`status.adapters`."""
    value = previous.get("adapters")
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _failing(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        if container.state == "waiting" and container.reason in REASONS:
            yield from (image for image in pod.images if image in container.message)
