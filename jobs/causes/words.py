"""A termination message → LastWords, however it arrived: whole, cut, of another version, hostile.

The message is written by the pod and shortened by the kubelet when a pod has many containers.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pydantic import ValidationError

from tuning.lastwords import LIMIT_BYTES, LastWords

_LARGEST = 2**53
"""Above it, JSON readers differ on what an integer is."""
_KNOWN = frozenset(LastWords.model_fields)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# One scalar member of an object whose end was cut off; every repetition is possessive.
_MEMBER = re.compile(r'"([a-z_]{1,32})"\s*+:\s*+("(?:[^"\\]|\\.)*+"|-?[0-9.eE+-]++)(?=\s*+[,}])')
_CUT_SENTENCE = re.compile(r'"sentence"\s*+:\s*+"((?:[^"\\]|\\.)*+)\\?\Z')


def words(message: str) -> LastWords | None:
    """What the pod said; None when that is not ours. What cannot be read of it is left out."""
    if not message.startswith("{"):
        return None
    said = _object(message[:LIMIT_BYTES])
    return _validated({k: v for k, v in said.items() if k in _KNOWN and _sane(v)})


def _object(message: str) -> dict[str, Any]:
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return _salvaged(message)
    return value if isinstance(value, dict) else {}


def _salvaged(message: str) -> dict[str, Any]:
    """The members before the cut; of a sentence that was cut, its beginning."""
    members = {name: _scalar(text) for name, text in _MEMBER.findall(message)}
    cut = _CUT_SENTENCE.search(message)
    if cut and "sentence" not in members:
        members["sentence"] = _scalar(f'"{cut[1]}…"')
    return members


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _validated(said: dict[str, Any]) -> LastWords | None:
    try:
        return LastWords.model_validate(said)
    except ValidationError as error:
        wrong = {e["loc"][0] for e in error.errors(include_url=False) if e["loc"]}
        if "phase" in wrong:
            return None
        return LastWords.model_validate({k: v for k, v in said.items() if k not in wrong})


def _sane(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return math.isfinite(value) and 0 <= value < _LARGEST
    return isinstance(value, str)


def digest_of(said: LastWords) -> str:
    """The pushed image's digest, "" unless it is one."""
    return said.digest if said.digest and _DIGEST.fullmatch(said.digest) else ""
