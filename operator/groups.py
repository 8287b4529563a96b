"""Objects by the Workspace that they belong to: what an informer knows, from the other side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from informer import Name

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Owned(Generic[T]):
    """A slim value and whose it is."""

    of: Name
    value: T


class Groups(Generic[T]):
    """Told every change by an informer; asked for all values of one owner."""

    def __init__(self) -> None:
        self._values: dict[Name, dict[Name, T]] = {}

    def of(self, owner: Name) -> tuple[T, ...]:
        return tuple(self._values.get(owner, {}).values())

    def change(self, name: Name, before: Owned[T] | None, after: Owned[T] | None) -> set[Name]:
        """Take note of a change; those whom it concerns (two when it has changed hands)."""
        if before is not None:
            group = self._values[before.of]
            del group[name]
            if not group:
                del self._values[before.of]
        if after is not None:
            self._values.setdefault(after.of, {})[name] = after.value
        return {owned.of for owned in (before, after) if owned is not None}
