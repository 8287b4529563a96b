"""pydantic's complaints about a user's object → Problems in the user's spelling.

Knows pydantic's error types, no field of the Workspace: names come from the models' aliases.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from jobs.plain import path_of, told
from presets.problem import Problem, nearest

_MAX_PROBLEMS = 100
_EXPECTED = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "tuple_type": "must be a list",
    "model_type": "must be a map of fields",
    "dict_type": "must be a map",
}


def field_problems(error: ValidationError, model: type[BaseModel]) -> tuple[Problem, ...]:
    """One Problem for each thing that is wrong, at most a hundred."""
    details = error.errors(include_url=False)
    problems = [_problem(detail, model) for detail in details[:_MAX_PROBLEMS]]
    if len(details) > _MAX_PROBLEMS:
        problems.append(Problem("", f"{len(details) - _MAX_PROBLEMS} more problems like these"))
    return tuple(dict.fromkeys(problems))


def repaired(
    value: dict[str, Any], error: ValidationError, model: type[BaseModel]
) -> dict[str, Any]:
    """A copy in which every unknown field has the nearest name, or is left out."""
    result = copy.deepcopy(value)
    for detail in error.errors(include_url=False):
        if detail["type"] != "extra_forbidden":
            continue
        *above, name = detail["loc"]
        holder = _at(result, above)
        wanted = nearest(str(name), _names(model, above))
        content = holder.pop(name)
        if wanted:
            holder.setdefault(wanted, content)
    return result


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    kind, loc, value = detail["type"], detail["loc"], detail["input"]
    if kind == "extra_forbidden":
        return _unknown(loc, model)
    if kind == "missing":
        return Problem(path_of(loc), "is missing", "add it", "missing")
    expected = _EXPECTED.get(kind) or _limits(detail)
    return Problem(path_of(loc), f"{expected}, not {told(value)}", _correction(kind, value))


def _unknown(loc: Sequence[str | int], model: type[BaseModel]) -> Problem:
    known = _names(model, loc[:-1])
    close = nearest(str(loc[-1]), known)
    do = f'did you mean "{close}"?' if close else f"known here: {', '.join(sorted(known))}"
    return Problem(path_of(loc), "unknown field", do, "generic")


def _limits(detail: ErrorDetails) -> str:
    limits = detail.get("ctx", {})
    if detail["type"] == "literal_error":
        return f"must be {limits['expected']}"
    if detail["type"] == "greater_than_equal":
        return f"must be at least {limits['ge']}"
    if detail["type"] == "less_than_equal":
        return f"must be at most {limits['le']}"
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _correction(kind: str, value: object) -> str:
    if kind == "string_type" and isinstance(value, dict) and isinstance(value.get("name"), str):
        return f"write only the name: {told(value['name'])}"
    if kind == "string_type" and not isinstance(value, dict | list):
        return f'put it in quotes: "{told(value)}"'
    if kind == "tuple_type" and isinstance(value, str):
        return 'write it as a list: begin the line with "- "'
    return ""


def _at(value: Any, loc: Sequence[str | int]) -> Any:
    for part in loc:
        value = value[part]
    return value


def _names(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The field names that may stand at `loc`, in the user's spelling."""
    for part in loc:
        if isinstance(part, str):
            field = next(f for n, f in model.model_fields.items() if part in (f.alias, n))
            model = next(_models(field.annotation))
    return [f.alias or name for name, f in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models inside `X | None`, `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
