"""One value from YAML → the value that an option takes, exactly; or what is wrong with it.

Between read.py, which knows the keys, and options.py, which knows the types.
Knows YAML 1.1's habits: `2e-4` is text there, and a bare `no` is false.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from presets.problem import nearest, shown
from tuning.settings.options import Option

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,4})?")
_EXACT_FLOAT = 2**53
_MAX_NODES = 5_000
_MAX_DEPTH = 40
_NAMES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "dict": "a map",
    "list": "a list",
    "list[str]": "a list of names",
    "list[int]": "a list of whole numbers",
    "list[list[int]]": "a list of lists of whole numbers",
}


class WrongValue(Exception):
    """A value that an option does not take: what it is, and what would do."""

    def __init__(self, what: str, do: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.do = do


def said(value: object) -> str:
    """`shown`, with true and false as YAML writes them."""
    return str(value).lower() if isinstance(value, bool) else shown(value)


def vet(value: object) -> None:
    """Refuse what JSON cannot keep exactly, and trees that aliases make huge.

    Raises WrongValue. Comes before any message shows a value: a message about an alias bomb must
    not unfold it.
    """
    budget = _MAX_NODES
    stack: list[tuple[object, int]] = [(value, 0)]
    while stack:
        node, depth = stack.pop()
        budget -= 1
        if budget < 0 or depth > _MAX_DEPTH:
            raise WrongValue("it is nested too deeply or too large", "write it without aliases")
        _vet_scalar(node)
        if isinstance(node, dict):
            stack += [(part, depth + 1) for pair in node.items() for part in pair]
        elif isinstance(node, list):
            stack += [(part, depth + 1) for part in node]


def _vet_scalar(node: object) -> None:
    if isinstance(node, float) and not math.isfinite(node):
        raise WrongValue(f"{node} is not a finite number", "write a finite number")
    if isinstance(node, int) and abs(node) >= 2**63:
        raise WrongValue("a whole number has more than 63 bits", "write a smaller one")
    if isinstance(node, str) and any("\ud800" <= c <= "\udfff" for c in node):
        raise WrongValue("a text has half of a surrogate pair", "write it as plain UTF-8")
    if node is not None and not isinstance(node, (bool, int, float, str, list, dict)):
        what = f"a {type(node).__name__} ({shown(str(node))}) is no value of JSON"
        raise WrongValue(what, "put it in quotes to make it text")


def coerce(value: Any, option: Option) -> Any:
    """`value` as `option` takes it: numbers written as text become numbers, nothing else changes.

    `value` has passed `vet` and is not None. Raises WrongValue.
    """
    if isinstance(value, bool):
        return _from_bool(value, option)
    if isinstance(value, (int, float)):
        return _from_number(value, option)
    if isinstance(value, str):
        return _from_text(value, option)
    if isinstance(value, list):
        return _from_list(value, option)
    if "dict" in option.types:
        _need_text_keys(value)
        return value
    raise _wrong(value, option)


def _need_text_keys(value: Any) -> None:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for key in value if isinstance(value, dict) else ():
        if not isinstance(key, str):
            raise WrongValue(f"the key {shown(key)} is not text", "put it in quotes")
    for part in parts:
        _need_text_keys(part)


def _from_bool(value: bool, option: Option) -> Any:
    if "bool" in option.types:
        return value
    if not value and "no" in option.choices:
        return "no"  # YAML 1.1 reads a bare `no` as false
    raise _wrong(value, option)


def _from_number(value: int | float, option: Option) -> Any:
    whole = isinstance(value, int) or (value.is_integer() and abs(value) <= _EXACT_FLOAT)
    if "int" in option.types and whole:
        return int(value)
    if "float" in option.types:
        return float(value)
    raise _wrong(value, option)


def _from_text(value: str, option: Option) -> Any:
    text = value.strip()
    if "dict" in option.types and text.startswith("{"):
        return _from_json(text, option)
    if "int" in option.types and _WHOLE.fullmatch(text):
        return int(text)
    if {"int", "float"} & set(option.types) and _NUMBER.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return _from_number(number, option)
    if "bool" in option.types and text.lower() in ("true", "false"):
        return text.lower() == "true"
    # Where a map does as well, the library means the text to be a file: there is none in the pod.
    if "str" in option.types and "dict" not in option.types:
        return _choice(value, option)
    if "list[str]" in option.types and text:
        parts = [part for part in re.split(r"[\s,]+", text) if part]
        first = next(kind for kind in option.types if kind.startswith("list"))
        # As if it had been written as a list: another kind may come first.
        return (
            [_choice(p, option) for p in parts]
            if first == "list[str]"
            else _from_list(parts, option)
        )
    raise _wrong(value, option)


def _from_json(text: str, option: Option) -> Any:
    try:
        value = json.loads(text)
        vet(value)
    except (ValueError, RecursionError) as error:
        raise WrongValue(f"{shown(text)} is not valid JSON", "write it as a YAML map") from error
    if not isinstance(value, dict):
        raise _wrong(text, option)
    return value


def _from_list(value: list[Any], option: Option) -> Any:
    for kind in option.types:
        if kind == "list":
            return value
        if kind.startswith("list["):
            part = Option(tuple(kind[5:-1].split("|")), choices=option.choices)
            try:
                return [coerce(item, part) for item in value if item is not None]
            except WrongValue as error:
                raise WrongValue(f"in the list, {error.what}", error.do) from error
    raise _wrong(value, option)


def _choice(value: str, option: Option) -> str:
    if not option.choices or value in option.choices:
        return value
    close = nearest(value, option.choices)
    if close and close.lower() == value.lower():
        return close
    few = len(option.choices) <= 8
    do = f"write one of {', '.join(option.choices)}" if few else ""
    do = f'did you mean "{close}"?' if close and not few else do or "see docs/configuration.md"
    raise WrongValue(f"{shown(value)} is not one of its choices", do)


def _wrong(value: object, option: Option) -> WrongValue:
    names = [name for kind, name in _NAMES.items() if kind in option.types]
    wanted = " or ".join(names) or "nothing that YAML can say"
    quotes = isinstance(value, (int, float)) and names == ["text"]
    do = f"put it in quotes: '{value}'" if quotes else f"write {wanted}"
    return WrongValue(f"{said(value)} is {_kind(value)}, not {wanted}", do)


def _kind(value: object) -> str:
    kinds = ((bool, "true or false"), (int, "a whole number"), (float, "a number"))
    for kind, name in (*kinds, (str, "text"), (list, "a list")):
        if isinstance(value, kind):
            return name
    return "a map"
