"""Keys of raw Kubernetes objects, any of which may be missing or of another type than it should.

Used by jobs/slim.py and what belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Body = Mapping[str, Any]

_LONGEST_MESSAGE = 4096  # the kubelet's own limit for a termination message


def mapping(body: Body, key: str) -> Body:
    value = body.get(key)
    return value if isinstance(value, dict | Mapping) else {}


def items(body: Body, key: str) -> Iterator[Body]:
    """Those of a list that are maps."""
    value = body.get(key)
    listed = value if isinstance(value, list) else []
    return (item for item in listed if isinstance(item, dict | Mapping))


def text(body: Body, key: str) -> str:
    value = body.get(key)
    return value[:_LONGEST_MESSAGE] if isinstance(value, str) else ""


def count(body: Body, key: str) -> int:
    value = body.get(key)
    return value if isinstance(value, int) else 0
