"""How far a run is: the parts of a status that its conditions and its progress speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.earlier import Object, text


@dataclass(frozen=True, slots=True)
class Reached:
    """`status.run`, `.attempts` and `.output`, as they are to be written."""

    run: Object
    attempts: Sequence[Object]
    output: Object

    @property
    def outcome(self) -> str:
        return text(self.run, "outcome")

    @property
    def started(self) -> bool:
        return "startedAt" in self.run
