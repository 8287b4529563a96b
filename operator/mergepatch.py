"""From one JSON object to another as a merge-patch (RFC 7396). Pure; used for statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]


def merge_patch(before: Object, after: Object) -> dict[str, Any]:
    """What makes `after` of `before`: null for what vanished, lists whole; empty when equal."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if old == value and key in before:
            continue
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        patch[key] = merge_patch(old, value) if both else value  # type: ignore[arg-type]
    return patch
