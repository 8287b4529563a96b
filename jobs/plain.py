"""Any value → fresh dicts, lists and JSON's scalars, or one Problem. First step of `parse`.

Behind it nothing can be too deep, endless (YAML aliases), of an odd type, or not Unicode, and no
part of the result is shared with the caller.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from presets.problem import Problem, shown

_MAX_DEPTH = 64
# etcd takes 1.5 MiB an object; the smallest value with its key takes some 10 bytes.
_MAX_VALUES = 100_000
_MAX_INTEGER_BITS = 64  # JSON numbers of the Kubernetes API are int64
_LONGEST_KEY = 80

Loc = Sequence[str | int]


def plain(body: object) -> tuple[Any, Problem | None]:
    """The value without its nulls (Kubernetes reads a null as absent), or the reason why not."""
    copy = _Copy()
    try:
        return copy.of(body, ()), None
    except _Refused as refused:
        return None, refused.problem


def path_of(loc: Loc) -> str:
    """`("urls", 0)` → `urls[0]`; keys that are no plain words go in brackets, long ones are cut."""
    return "".join(_step(part) for part in loc).removeprefix(".")


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    key = part if len(part) <= _LONGEST_KEY else part[: _LONGEST_KEY - 1] + "…"
    return f".{key}" if key.replace("_", "").replace("-", "").isalnum() else f"[{key}]"


def told(value: object) -> str:
    """What a user wrote, short enough for a sentence: scalars as such, others by their kind."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, str) and not value:
        return "an empty text"
    return shown(value) if isinstance(value, str) else str(value)


class _Refused(Exception):
    def __init__(self, loc: tuple[str | int, ...], what: str, do: str) -> None:
        super().__init__(what)
        self.problem = Problem(path_of(loc), what, do)


class _Copy:
    """One copy in the making; counts what it has copied."""

    def __init__(self) -> None:
        self._values = 0

    def of(self, value: object, loc: tuple[str | int, ...]) -> Any:
        self._values += 1
        if self._values > _MAX_VALUES:
            raise _Refused((), f"more than {_MAX_VALUES} values", "write less, and no YAML aliases")
        if len(loc) > _MAX_DEPTH:
            raise _Refused(loc[:3], f"nested deeper than {_MAX_DEPTH} levels", "flatten it")
        if isinstance(value, str):  # most are; asking for a Mapping is the slow question
            return _text(value, loc)
        if isinstance(value, dict | Mapping):
            return dict(self._items(value, loc))
        if isinstance(value, list | tuple):
            return [self.of(item, (*loc, i)) for i, item in enumerate(value)]
        return _scalar(value, loc)

    def _items(
        self, value: Mapping[Any, Any], loc: tuple[str | int, ...]
    ) -> Iterator[tuple[str, Any]]:
        for key, item in value.items():
            if not isinstance(key, str):
                what = f"the key {told(_scalar(key, loc))} is not text"
                raise _Refused(loc, what, "put it in quotes")
            _text(key, loc)
            if item is not None:
                yield key, self.of(item, (*loc, key))


def _text(value: str, loc: tuple[str | int, ...]) -> str:
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise _Refused(loc, "not valid Unicode (half of a surrogate pair)", "save it as UTF-8")
    return str(value)


def _scalar(value: object, loc: tuple[str | int, ...]) -> object:
    if isinstance(value, str):
        return _text(value, loc)
    if isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
        raise _Refused(loc, "a number of more than 64 bits", "write a smaller one")
    # PyYAML makes dates of unquoted timestamps; kubectl leaves them text.
    if value is None or isinstance(value, int | float | datetime.date):
        return value
    raise _Refused(loc, f"a {type(value).__name__}, which JSON does not have", "write it as text")
