"""What a serving pod says: `prepare` in its last words, one with live adapters when asked. Pure.

A `life` of a pod is that of its server: one that was started again says everything anew.
"""

from __future__ import annotations

import re

from pydantic import ValidationError

from jobs.seen import Container, Pod, Seen
from serving.lastwords import ServeWords

_KIND = re.compile("[A-Z][A-Za-z]{0,40}")


def said(container: Container) -> ServeWords | None:
    """What `prepare` said; None when it is not ours, or was cut."""
    if not container.init or not container.message.startswith("{"):
        return None
    try:
        words = ServeWords.model_validate_json(container.message)
    except ValidationError:
        return None
    return words if _is_told(words) else None


def report(answer: str) -> ServeWords:
    """What GET /adapters says. Raises ValueError."""
    words = ServeWords.model_validate_json(answer)
    if not _is_told(words):
        raise ValueError("a kind is no word")
    return words


def _is_told(words: ServeWords) -> bool:
    """A kind becomes a condition's reason, which has a grammar."""
    kinds = (words.kind, *(one.kind for one in words.adapters))
    return all(kind is None or _KIND.fullmatch(kind) for kind in kinds)


def prepared(pod: Pod) -> ServeWords | None:
    """What a pod has that is done with preparing."""
    ended = (c for c in pod.containers if c.state == "terminated")
    words = (said(container) for container in ended)
    return next((one for one in words if one is not None and one.state == "done"), None)


def server(pod: Pod, workspace: str) -> Container | None:
    """The container that serves; it has the Workspace's name."""
    return next((c for c in pod.containers if c.name == workspace and not c.init), None)


def life(pod: Pod, workspace: str) -> str:
    """The present life of its server; "" while it does not run."""
    found = server(pod, workspace)
    running = found is not None and found.state == "running"
    return f"{pod.uid}/{found.started_at}" if found is not None and running else ""


def reported(pod: Pod, workspace: str, seen: Seen) -> ServeWords | None:
    """What its server has said in this life."""
    return (seen.served or {}).get(life(pod, workspace))
