"""One YAML mapping → checked values: the fields it must and may have, all problems at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from presets.problem import Problem, did_you_mean, shown

_LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True)
class Field:
    """How a value must look: `want` says it in words, `fits` decides."""

    want: str
    fits: Callable[[Any], bool]
    required: bool = False


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.isprintable()


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(_text(v) for v in value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40


def _amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**40


TEXT = Field("a text", _text)
TEXTS = Field("a list of texts", _texts)
COUNT = Field("a whole number above 0", _count)
AMOUNT = Field("a number above 0", _amount)
FLAG = Field("true or false", lambda value: isinstance(value, bool))


def must(kind: Field) -> Field:
    """The same field, required."""
    return Field(kind.want, kind.fits, required=True)


@dataclass(slots=True)
class Reader:
    """Reads rows of one file and gathers what is wrong with them."""

    problems: list[Problem] = field(default_factory=list)

    def row(self, value: Any, path: str, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        """The row's values (a null counts as left out), or None when something is wrong."""
        if not isinstance(value, Mapping):
            self._wrong(path, f"{shown(value)} is not a set of keys", f"give {', '.join(fields)}")
            return None
        before = len(self.problems)
        for key in value:
            if key not in fields:
                hint = did_you_mean(str(key), fields)
                self._wrong(path, f"unknown key {shown(key)}", hint or f"use {', '.join(fields)}")
        good = {k: value[k] for k in fields if value.get(k) is not None}
        for key, kind in fields.items():
            self._check(f"{path}.{key}", key in good, good.get(key), kind)
        return good if len(self.problems) == before else None

    def _check(self, path: str, given: bool, value: Any, kind: Field) -> None:
        if given and not kind.fits(value):
            self._wrong(path, f"{shown(value)} is not {kind.want}", f"give {kind.want}")
        if kind.required and not given:
            self.problems.append(Problem(path, "is missing", f"give {kind.want}", "missing"))

    def _wrong(self, path: str, what: str, do: str) -> None:
        self.problems.append(Problem(path, what, do))

    def section(self, value: Any, path: str, kind: type) -> Any:
        """A list or mapping (empty when left out); anything else is a problem."""
        if value is None or isinstance(value, kind):
            return value or kind()
        want = "a list" if kind is list else "a set of keys"
        self._wrong(path, f"{shown(value)} is not {want}", f"give {want}")
        return kind()
