"""Who serves whose adapter: inference Workspaces name tuning ones, and are woken when those change.

Used by caches.py, which tells it every change of a Workspace.
"""

from __future__ import annotations

from collections.abc import Mapping

from informer import Name
from jobs import seen, slim
from jobs.decision import Object


class Lending:
    """From each Workspace that is named to those that name it."""

    def __init__(self) -> None:
        self._borrowers: dict[Name, set[Name]] = {}

    def changed(self, key: Name, before: Object | None, after: Object | None) -> set[Name]:
        """Take note of a change; the other Workspaces that it concerns."""
        named_before = set(slim.sources(before)) if before else set()
        named = set(slim.sources(after)) if after else set()
        for lender in named_before - named:
            self._borrowers[lender].discard(key)
            if not self._borrowers[lender]:
                del self._borrowers[lender]
        for lender in named - named_before:
            self._borrowers.setdefault(lender, set()).add(key)
        borrowers = self._borrowers.get(key)
        if not borrowers or _tuned(before) == _tuned(after):
            return set()
        return borrowers - {key}


def lent(body: Object | None, workspaces: Mapping[Name, Object]) -> dict[Name, seen.Tuned]:
    """The Workspaces that one names, as far as they are there."""
    named = slim.sources(body) if body else ()
    return {name: slim.tuned(workspaces[name]) for name in named if name in workspaces}


def _tuned(body: Object | None) -> seen.Tuned | None:
    return slim.tuned(body) if body else None
