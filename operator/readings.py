"""What each Workspace asks for, read once for each time that somebody wrote it.

Kept for reconcile.py, which looks at a Workspace about six times and finds its words the same.
"""

from __future__ import annotations

from informer import Name
from jobs.decision import Object
from jobs.installation import Installation
from jobs.reading import Mark, Reading, mark, read_words


class Readings:
    """`forget` those that nothing more is expected of: each is some 5 KiB."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._known: dict[Name, tuple[Mark, Reading]] = {}

    def of(self, key: Name, body: Object) -> Reading:
        marked = mark(body)
        known = self._known.get(key)
        if known is not None and known[0] == marked:
            return known[1]
        made = read_words(body, self._installation)
        if marked is not None:
            self._known[key] = marked, made
        return made

    def forget(self, key: Name) -> None:
        self._known.pop(key, None)
