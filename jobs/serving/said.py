"""A serving pod's last words, however they arrived. Pure."""

from __future__ import annotations

import re

from pydantic import ValidationError

from jobs.seen import Container, Pod
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
    # A kind becomes a condition's reason, which has a grammar.
    return words if words.kind is None or _KIND.fullmatch(words.kind) else None


def prepared(pod: Pod) -> ServeWords | None:
    """What a pod has that is done with preparing."""
    ended = (c for c in pod.containers if c.state == "terminated")
    words = (said(container) for container in ended)
    return next((one for one in words if one is not None and one.state == "done"), None)
