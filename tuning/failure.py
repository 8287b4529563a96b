"""The table of failures: kind ↔ exit code ↔ condition reason ↔ who must act.

The pod's words end with one of these codes, the Job's podFailurePolicy is made from the same table,
and the operator reads a reason back from the code. Imports nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of failure means to the outside."""

    exit_code: int
    reason: str
    who_must_act: str
    final: bool
    """A retry of the same pod cannot help: the Job fails at once."""


class Kind(Enum):
    """Why a run did not finish. The codes are sysexits(3) where one fits."""

    BAD_CONFIG = Row(78, "BadConfig", "whoever wrote the Workspace or its ConfigMap", True)
    BAD_DATA = Row(65, "BadData", "whoever owns the data set", True)
    NO_ACCESS = Row(77, "NoAccess", "whoever owns the credentials", True)
    OUT_OF_MEMORY = Row(71, "OutOfMemory", "whoever chose the instance type or batch", False)
    UNAVAILABLE = Row(69, "Unavailable", "nobody yet: network, registry or hub", False)
    INTERRUPTED = Row(75, "Interrupted", "nobody: the next attempt goes on from here", False)
    INTERNAL = Row(70, "Internal", "the authors of Tunery", False)

    @property
    def exit_code(self) -> int:
        return self.value.exit_code

    @property
    def reason(self) -> str:
        return self.value.reason

    @classmethod
    def of(cls, exit_code: int) -> Kind | None:
        """The kind that a container's exit code stands for; None for any other code."""
        return next((k for k in cls if k.exit_code == exit_code), None)


class Failure(Exception):
    """A run that cannot go on: its kind, and one sentence that says what to do.

    Raised at the boundary where the cause is known, caught once in tuning/__main__.py.
    """

    def __init__(self, kind: Kind, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence
