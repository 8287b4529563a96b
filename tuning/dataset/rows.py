"""What a row is, before and after it is understood: the values that the data modules pass around.

Raw (as read) → Row (one of three forms, ready to tokenise) or Bad (why not). Pure, no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from presets.problem import printable
from tuning.run import canonical

MAX_VALUE_BYTES = 16 * 1024 * 1024
"""Largest single value (a cell, a line) that is taken: about four million tokens of text."""

MAX_ROW_BYTES = 2 * MAX_VALUE_BYTES
_EXCERPT = 120


@dataclass(frozen=True, slots=True)
class Raw:
    """A row as it stands in its file. `number` counts from 1: the line in text files."""

    file: str
    number: int
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bad:
    """Why a row cannot be used: a short reason that many rows share, and where in the row."""

    reason: str
    where: str = ""

    def sentence(self) -> str:
        return f"{self.where}: {self.reason}" if self.where else self.reason


@dataclass(frozen=True, slots=True)
class BadRaw:
    """A row that could not even be read."""

    file: str
    number: int
    bad: Bad
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation. Loss is on the messages whose indexes are in `trained`, all assistant's."""

    messages: tuple[Mapping[str, Any], ...]
    trained: tuple[int, ...]
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and what should follow it, taken letter by letter: no chat template."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text; loss is on all of it."""

    text: str


Row = Chat | Pair | Text


def to_json(row: Row) -> bytes:
    """One line of the rows file, the same bytes in every process, without its newline."""
    if isinstance(row, Chat):
        value: dict[str, Any] = {"messages": row.messages, "trained": row.trained}
        return canonical(value | ({"tools": row.tools} if row.tools else {}))
    if isinstance(row, Pair):
        return canonical({"prompt": row.prompt, "completion": row.completion})
    return canonical({"text": row.text})


def from_json(line: bytes | str) -> Row:
    """The row that `to_json` wrote. Raises ValueError or KeyError on anything else."""
    value = json.loads(line)
    if "messages" in value:
        tools = tuple(value.get("tools", ()))
        return Chat(tuple(value["messages"]), tuple(value["trained"]), tools)
    if "completion" in value:
        return Pair(value["prompt"], value["completion"])
    return Text(value["text"])


def excerpt(value: object) -> str:
    """A bad row as shown to people: its beginning, on one line, harmless."""
    if not isinstance(value, str):
        value = repr(_shortened(value))
    text = printable(value[: 4 * _EXCERPT])
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"


def _shortened(value: object, depth: int = 0) -> object:
    """Only what an excerpt can show: rows may be huge, deep, or hold what repr refuses."""
    if isinstance(value, str):
        return value[:_EXCERPT]
    if isinstance(value, bytes):
        return value[:16]
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return "a huge number"
    if depth > 4:
        return "…"
    if isinstance(value, Mapping):
        first = islice(value.items(), 6)
        return {str(_shortened(k)): _shortened(v, depth + 1) for k, v in first}
    if isinstance(value, (list, tuple)):
        return [_shortened(v, depth + 1) for v in value[:4]]
    return value
