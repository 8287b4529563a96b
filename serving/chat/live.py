"""Which version of each live adapter the server has, as serving/live.py beside it writes it.

A live adapter is loaded under a name of its own for each version (`codes@3f2afe3f2a0c`). Clients
write `codes`; which version that is changes at once, between two requests: those that are being
answered go on with the one that they began with. Part of the package that `prepare` copies to where
a server finds it: standard library only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .asgi import Json
from .questions import Settings

_CLOCK_S = 1.0
"""Files have the time of a coarser clock."""
EVERY_VERSION = b"versions=true"
"""Query of GET /v1/models: the server's own list, for serving/live.py."""


@dataclass(frozen=True)
class Versions:
    """What the server has now."""

    model: str
    """Asked by /chat."""
    names: Mapping[str, str]
    """What clients write → what the server knows it as."""
    words: Json = field(default_factory=dict)
    """What GET /adapters says: serving/lastwords.py, ServeWords."""


class Live:
    """Reads the file again when it is another one."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._born_s = time.time()
        self._known: tuple[int, int] | None = None
        self._versions: Versions | None = None

    def is_new(self) -> bool:
        """Whether it was written in this server's life: what the one before had is loaded again."""
        try:
            return os.stat(self._path).st_mtime > self._born_s - _CLOCK_S
        except FileNotFoundError:
            return False

    def versions(self) -> Versions | None:
        """None: nothing is loaded yet."""
        try:
            found = os.stat(self._path)
            known = (found.st_mtime_ns, found.st_ino)
            if known != self._known:
                self._versions = Versions(**json.loads(self._path.read_bytes()))
                self._known = known
        except FileNotFoundError:
            self._known = self._versions = None
        return self._versions


def with_versions(settings: Settings, versions: Versions | None) -> Settings:
    """The settings as they are now."""
    return replace(settings, model=versions.model) if versions else settings


def listed(answer: bytes, versions: Versions | None) -> Json:
    """The server's list of models with the names that clients write. Raises ValueError or
    LookupError when it is no list."""
    found: Json = json.loads(answer)
    cards = {card["id"]: card for card in found["data"]}
    names = versions.names if versions else {}
    own = [card for name, card in cards.items() if "@" not in name]
    live = [{**cards[of], "id": name} for name, of in names.items() if of in cards]
    return {**found, "data": [*own, *live]}
