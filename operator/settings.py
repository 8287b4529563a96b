"""The operator's settings: environment variables TUNERY_*, which the chart writes from its values.

Read once at the start, by main.py. Every problem is told at once, each with the variable, what it
holds and what it may hold.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jobs.installation import Installation

PREFIX = "TUNERY_"


@dataclass(frozen=True, slots=True)
class Process:
    """How the process itself runs; what it decides with is the Installation."""

    metrics_port: int = 8080
    """/metrics, /healthz and /readyz."""
    workers: int = 32
    """Workspaces that are worked on at once."""
    replicas: int = 1
    """More than one: the Lease says who writes."""
    pod_name: str = "tunery-operator"
    """Who it is, in Events and in the Lease."""
    webhook_port: int = 9443
    webhook_names: tuple[str, ...] = ()
    """Host names by which the API server calls the webhook; none: no webhook."""
    webhook_configuration: str = "tunery"
    """Name of the ValidatingWebhookConfiguration that trusts it."""
    webhook_certificate: str = ""
    """Folder with tls.crt and tls.key that cert-manager keeps; empty: we make our own."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class SettingsError(Exception):
    """All problems, one line each."""


def read(environment: Mapping[str, str]) -> tuple[Installation, Process]:
    """The settings of an environment.

    Raises:
        SettingsError: a variable is unknown, missing, or holds what it may not.
    """
    problems: list[str] = []
    values = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    made = [_part(kind, values, problems) for kind in (Installation, Process)]
    problems += [f"{_variable(name)} is no setting of Tunery" for name in sorted(values)]
    if problems:
        raise SettingsError("\n".join(problems))
    return typing.cast(tuple[Installation, Process], tuple(kind(**found) for kind, found in made))


def _part(
    kind: Callable[..., Any], values: dict[str, str], problems: list[str]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Take what one dataclass wants out of `values`."""
    found: dict[str, Any] = {}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        text = values.pop(field.name, None)
        if text is None and field.default is dataclasses.MISSING:
            problems.append(f"{_variable(field.name)} is missing")
        if text is None:
            continue
        try:
            found[field.name] = _value(hints[field.name], text)
        except ValueError as error:
            problems.append(f"{_variable(field.name)} is {text!r}, not {error}")
    return kind, found


def _value(hint: Any, text: str) -> Any:
    """Raises ValueError with what it should have been."""
    if hint is bool:
        if text not in ("true", "false"):
            raise ValueError("true or false")
        return text == "true"
    if hint is int:
        if not text.isdigit():
            raise ValueError("a whole number")
        return int(text)
    if typing.get_origin(hint) is Literal:
        if text not in typing.get_args(hint):
            raise ValueError("one of " + ", ".join(map(repr, typing.get_args(hint))))
        return text
    if typing.get_origin(hint) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _variable(name: str) -> str:
    return PREFIX + name.upper()
