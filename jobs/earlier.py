"""What the last status said of the run that is told about now: memory, as pods are soon gone.

The operator has no other. People can edit a status, so nothing is trusted to have its type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.facts import Facts

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Earlier:
    """Parts of the previous status; empty where they spoke of another run."""

    run: Object = field(default_factory=dict)
    attempts: tuple[Object, ...] = ()
    progress: Object = field(default_factory=dict)
    output: Object = field(default_factory=dict)
    conditions: Mapping[str, Object] = field(default_factory=dict)
    """By type, of whichever run."""
    workers: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        return text(self.run, "outcome")


def earlier(previous: Object, facts: Facts) -> Earlier:
    """The memory of this run; when no run is wanted, of whichever was told about last."""
    run = section(previous, "run")
    conditions = {text(c, "type"): c for c in _maps(previous, "conditions")}
    listed = previous.get("workerNodes")
    workers = tuple(w for w in listed if isinstance(w, str)) if isinstance(listed, list) else ()
    if facts.run is not None and text(run, "hash") != facts.run.hash:
        return Earlier(conditions=conditions, workers=workers)
    return Earlier(
        run=run,
        attempts=tuple(_attempt(a) for a in _maps(previous, "attempts") if text(a, "pod")),
        progress=section(previous, "progress"),
        output=section(previous, "output"),
        conditions=conditions,
        workers=workers,
    )


def section(body: Object, key: str) -> Object:
    value = body.get(key)
    return value if isinstance(value, Mapping) else {}


def text(body: Object, key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _attempt(attempt: Object) -> Object:
    """A kind becomes a condition's reason, which has a grammar."""
    if "kind" in attempt and not _WORD.fullmatch(text(attempt, "kind")):
        return {k: v for k, v in attempt.items() if k != "kind"}
    return attempt


def _maps(body: Object, key: str) -> list[Object]:
    value = body.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
