"""(previous status, next status) → what to tell when a serving is replaced by another. Pure.

Called by jobs/decide.py when it does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jobs.earlier import Object, text
from jobs.serving.remembered import adapters


def reloaded(previous: Object, following: Object) -> str:
    """What has changed, where adapters are live."""
    return f"{_what(previous, following)}: the running server takes it over"


def rolled(previous: Object, following: Object, *, surge: bool = False) -> str:
    """What has changed, and what that means for those who ask."""
    count = following.get("targetNodeCount")
    how = "its pod is replaced, and nothing answers meanwhile (more replicas would)"
    if isinstance(count, int) and count > 1:
        how = "its pods are replaced one after the other"
    elif surge:
        how = "a second pod is started first, and its pod answers until that is ready"
    return f"{_what(previous, following)}: {how}"


def _what(previous: Object, following: Object) -> str:
    old = {text(one, "name"): _as_asked(one) for one in adapters(previous)}
    new = {text(one, "name"): _as_asked(one) for one in adapters(following)}
    parts = [
        *_told("added", [name for name in new if name not in old]),
        *_told("removed", [name for name in old if name not in new]),
        *_told("pulled instead of mounted", _pulled(previous, following)),
        *_told("changed", [name for name in new if name in old and old[name] != new[name]]),
    ]
    return ", ".join(parts) or "what is served has changed"


def _pulled(previous: Object, following: Object) -> list[str]:
    before = {text(one, "name") for one in adapters(previous) if one.get("pulled")}
    after = (text(one, "name") for one in adapters(following) if one.get("pulled"))
    return [name for name in after if name not in before]


def _told(how: str, names: list[str]) -> Iterator[str]:
    if names:
        yield f"adapter{'s' if len(names) > 1 else ''} {', '.join(names)} {how}"


def _as_asked(adapter: Mapping[str, object]) -> tuple[str, str]:
    return text(adapter, "image"), text(adapter, "strength")
