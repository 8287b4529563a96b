"""Small words for OpenAPI schemas as Kubernetes wants them (structural). No field is named here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]


def text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def number(description: str, **more: Any) -> Schema:
    """A whole number: floats are text in Kubernetes' APIs."""
    return {"type": "integer", "description": description, **more}


def texts(description: str, **more: Any) -> Schema:
    return {"type": "array", "description": description, "items": {"type": "string"}, **more}


def items(description: str, item: Schema, **more: Any) -> Schema:
    return {"type": "array", "description": description, "items": item, **more}


def text_map(description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "additionalProperties": {"type": "string"},
    }


def part(
    description: str,
    properties: Mapping[str, Schema],
    required: Sequence[str] = (),
    rules: Sequence[Schema] = (),
    **more: Any,
) -> Schema:
    """A map of known fields."""
    schema: Schema = {"type": "object", "description": description, **more}
    if required:
        schema["required"] = list(required)
    if rules:
        schema["x-kubernetes-validations"] = list(rules)
    return {**schema, "properties": dict(properties)}


def anything(description: str) -> Schema:
    """A map that Kubernetes itself reads later. Null is absent, as in Go."""
    return {
        "type": "object",
        "description": description,
        "nullable": True,
        "x-kubernetes-preserve-unknown-fields": True,
    }
