"""Single values of a row → text or plain JSON, or why not. Pure.

The lowest step of the data checks: what a cell, a message's content or a tool's description may be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from tuning.dataset.rows import MAX_VALUE_BYTES, Bad

HALF_CHARACTER = "holds half a character (an unpaired surrogate)"
_TEXT_PARTS = ("text", "input_text", "output_text")
_MAX_DEPTH = 40
_MAX_INTEGER_BITS = 4096
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, "text"),
    (bool, "true or false"),
    ((int, float), "a number"),
    (Mapping, "an object"),
    ((list, tuple), "a list"),
    (bytes, "bytes"),
)


def text_of(value: object) -> str | Bad:
    """The text of a cell; numbers are spelled out."""
    if isinstance(value, str):
        return _checked(value)
    if value is None:
        return Bad("is null, not text")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _spelled(value)
    return Bad(f"is {kind_of(value)}, not text")


def content_of(value: object) -> str | Bad:
    """The text of a message's content, which may be a list of parts."""
    return _joined_parts(value) if isinstance(value, (list, tuple)) else text_of(value)


def parsed(text: str) -> object:
    """JSON text → its value; any other text is itself."""
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def kind_of(value: object) -> str:
    """What a value is, in words for a message."""
    return next((words for types, words in _KINDS if isinstance(value, types)), "something else")


def plain(value: object, depth: int = 0) -> object:
    """JSON values only, without the nulls that a columnar file fills in for absent keys.

    Raises ValueError for what JSON cannot hold.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("is nested too deeply")
    if isinstance(value, Mapping):
        kept = {k: v for k, v in value.items() if v is not None}
        return {str(plain(str(k))): plain(v, depth + 1) for k, v in kept.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v, depth + 1) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that is not finite")
    if isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
        raise ValueError("holds a number that is too large")
    if isinstance(value, str):
        return _whole(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise ValueError(f"holds {kind_of(value)}")


def _joined_parts(parts: Sequence[object]) -> str | Bad:
    texts: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, Mapping):
            return Bad("has a part that is not text")
        kind = part.get("type") or "text"
        if kind not in _TEXT_PARTS:
            return Bad("has a part that is not text (images, audio and files cannot be tuned on)")
        if not isinstance(part.get("text"), str):
            return Bad("has a text part without text")
        texts.append(part["text"])
    return _checked("".join(texts))


def _checked(text: str) -> str | Bad:
    if len(text) > MAX_VALUE_BYTES:
        return Bad(f"is longer than {MAX_VALUE_BYTES // 2**20} MiB")
    try:
        return _whole(text)
    except ValueError as error:
        return Bad(str(error))


def _whole(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(HALF_CHARACTER) from error
    return text


def _spelled(number: int | float) -> str | Bad:
    try:
        return str(plain(number))
    except ValueError as error:
        return Bad(str(error))
