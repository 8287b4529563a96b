"""JSON lines and JSON files → rows, as a stream. Called by readers.py.

A row that cannot be read becomes a BadRaw with its line; a file that was cut short is a Failure.
Never more than one row in memory, but for a JSON file that is one object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuning.dataset import formats, jsonlist
from tuning.dataset.rows import Bad, BadRaw, Raw, excerpt
from tuning.dataset.textfile import BOM, BadLine, Lines, failure, opened
from tuning.dataset.values import kind_of

_MAX_OBJECT_BYTES = 256 * 1024 * 1024
_LIST_KEYS = ("data", "rows", "train", "examples", "instances")


def jsonl(path: Path, name: str) -> Iterator[Raw | BadRaw]:
    """One JSON object a line; blank lines are passed over."""
    with opened(path, name) as (file, packed_bytes):
        lines = Lines(file, name, packed_bytes)
        while True:
            try:
                line = next(lines)
            except StopIteration:
                return
            except BadLine as broken:
                yield BadRaw(name, lines.number, broken.bad, excerpt(broken.said))
                continue
            if line.strip():
                yield _json_line(line, lines, name)


def json_file(path: Path, name: str) -> Iterator[Raw | BadRaw]:
    """A list of objects, `{"data": [objects]}`, or JSON lines with the wrong suffix."""
    with opened(path, name) as (file, _):
        first = file.read(formats.HEAD_BYTES).removeprefix(BOM).lstrip()[:1]
    if first == b"[":
        return (_as_row(v, n, name) for n, v in enumerate(jsonlist.values(path, name), 1))
    whole = _whole_object(path, name)
    if whole is None:
        return jsonl(path, name)
    found = next((whole[k] for k in _LIST_KEYS if isinstance(whole.get(k), list)), None)
    return (_as_row(row, n, name) for n, row in enumerate([whole] if found is None else found, 1))


def _json_line(line: str, lines: Lines, name: str) -> Raw | BadRaw:
    try:
        return _as_row(json.loads(line), lines.number, name)
    except (ValueError, RecursionError):
        if not lines.whole:
            what = f"{name} ends in the middle of row {lines.number}"
            raise failure(f"{what}; it was cut short: copy it again") from None
        return BadRaw(name, lines.number, Bad("is not valid JSON"), excerpt(line.strip()))


def _as_row(value: object, number: int, name: str) -> Raw | BadRaw:
    if isinstance(value, Mapping):
        return Raw(name, number, value)
    bad = Bad(f"is {kind_of(value)}, not an object with named values")
    return BadRaw(name, number, bad, excerpt(value))


def _whole_object(path: Path, name: str) -> dict[str, Any] | None:
    """The file as one JSON object; None when it is not one (JSON lines, or too large to be)."""
    with opened(path, name) as (file, _):
        raw = file.read(_MAX_OBJECT_BYTES + 1)
    if len(raw) > _MAX_OBJECT_BYTES:
        return None
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
