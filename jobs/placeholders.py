"""Placeholders that were copied from an example and never filled in.

KAITO takes `ACR_REPO_HERE.azurecr.io/…` and fails after the node was paid for. Only what can be
nothing else is looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from jobs.plain import path_of
from jobs.workspace import Workspace
from presets.problem import Problem, shown

# Every repetition is bounded: the text may be a megabyte long.
_PLACEHOLDER = re.compile(
    r"(?<![A-Z0-9_])[A-Z0-9_]{1,40}_HERE(?![A-Za-z0-9])"  # ACR_REPO_HERE
    r"|(?<![A-Za-z0-9])YOUR[_-][A-Z0-9_-]{1,40}"  # YOUR_REGISTRY
    r"|<[A-Za-z][^<>]{0,60}>"  # <registry>
    r"|\$\([A-Za-z_][^()]{0,60}\)|\$\{[^{}]{1,60}\}"  # $(REGISTRY) ${REGISTRY}
    r"|\{\{[^{}]{1,60}\}\}"  # {{ .Values.registry }}
)
# Pod templates may well hold $(NAME): the kubelet fills those in.
_NOT_READ = frozenset({"template", "annotations", "labels"})

Loc = tuple[str | int, ...]


def placeholder_problems(workspace: Workspace) -> Iterator[Problem]:
    """One for each value that still holds a placeholder."""
    for loc, text in _texts(workspace, ()):
        found = _PLACEHOLDER.search(text)
        if found:
            what = f"{shown(found[0])} is a placeholder from an example"
            yield Problem(path_of(loc), what, "write your own value")


def _texts(value: object, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Every text in the Workspace and where it stands, in the user's spelling."""
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            if name not in _NOT_READ:
                yield from _texts(getattr(value, name), (*loc, field.alias or name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*loc, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _texts(item, (*loc, number))
