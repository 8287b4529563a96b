"""Files of a user → the Workspaces and ConfigMaps in them. First step of validate, check and run.

Several documents a file, `kind: List`, `-` for standard input. Other kinds are left alone: people
keep Secrets and Namespaces beside a Workspace.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from presets.problem import Problem, did_you_mean, shown
from presets.text import MAX_BYTES, read_documents, read_file

_KINDS = ("Workspace", "ConfigMap")


@dataclass(frozen=True, slots=True)
class Found:
    """A problem and the file it is in."""

    file: str
    problem: Problem

    def line(self) -> str:
        """`FILE: path.to.field: what is wrong with VALUE; what to do`."""
        mark = "warning: " if self.problem.warning else ""
        return f"{self.file}: {mark}{self.problem.line()}"


@dataclass(frozen=True, slots=True)
class Manifests:
    """All that the files hold; bodies are as written, not yet parsed."""

    workspaces: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    config_maps: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    problems: tuple[Found, ...] = ()


def read(files: Sequence[str]) -> Manifests:
    """Read every file. Never raises for what a file holds: it becomes a problem."""
    workspaces: list[tuple[str, Mapping[str, Any]]] = []
    config_maps: dict[tuple[str, str], Mapping[str, str]] = {}
    problems: list[Found] = []
    for file in dict.fromkeys(files):
        documents, problem = _read_one(file)
        if problem:
            problems.append(Found(file, problem))
        for number, body in enumerate(_flatten(documents), start=1):
            kind = body.get("kind") if isinstance(body, Mapping) else None
            if kind == "ConfigMap":
                problems += [Found(file, p) for p in _add_config_map(body, config_maps)]
            elif kind == "Workspace":
                workspaces.append((file, body))
            else:
                problems += [Found(file, p) for p in _kind_problems(body, number)]
    problems += _duplicates(workspaces)
    if not workspaces and not problems:
        problems.append(Found(", ".join(files), Problem("", "no Workspace in it", _ADD_ONE)))
    return Manifests(tuple(workspaces), config_maps, tuple(problems))


_ADD_ONE = "add a document with apiVersion: kaito.sh/v1beta1 and kind: Workspace"


def _read_one(file: str) -> tuple[list[Any], Problem | None]:
    if file != "-":
        return read_file(Path(file))
    raw = sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        return read_documents(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return [], Problem("", f"not UTF-8 text (byte {error.start})", "send UTF-8")


def _flatten(documents: Sequence[Any]) -> Iterator[Any]:
    for body in documents:
        if isinstance(body, Mapping) and body.get("kind") == "List":
            items = body.get("items")
            yield from items if isinstance(items, list) else ()
        else:
            yield body


def _kind_problems(body: Any, number: int) -> list[Problem]:
    if not isinstance(body, Mapping):
        what = f"document {number} is {shown(body)}, not a Kubernetes object"
        return [Problem("", what, _ADD_ONE)]
    kind = body.get("kind")
    if not isinstance(kind, str):
        return [Problem("kind", f"document {number} has no kind", "write kind: Workspace")]
    close = did_you_mean(kind, _KINDS)
    if close or "tuning" in body or "inference" in body:
        return [Problem("kind", f"{shown(kind)} is not a kind of Tunery", "write kind: Workspace")]
    return []


def _add_config_map(
    body: Mapping[str, Any], into: dict[tuple[str, str], Mapping[str, str]]
) -> list[Problem]:
    name, namespace = _identity(body)
    if not name:
        return [Problem("metadata.name", "a ConfigMap needs a name", "add it", "missing")]
    data = body.get("data") or {}
    if not isinstance(data, Mapping):
        what = f"must map file names to texts, not {shown(data)}"
        return [Problem(f"ConfigMap {name}: data", what, "write `training_config.yaml: |`")]
    into[namespace, name] = {str(k): v for k, v in data.items() if isinstance(v, str)}
    return [
        Problem(
            f"ConfigMap {name}: data.{key}",
            "must be text, not a nested map",
            f"write `{key}: |` and indent the lines below it",
        )
        for key, value in data.items()
        if not isinstance(value, str)
    ]


def _identity(body: Mapping[str, Any]) -> tuple[str, str]:
    """(name, namespace); an empty name when there is none."""
    metadata = body.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name, namespace = metadata.get("name"), metadata.get("namespace")
    return str(name) if name else "", str(namespace) if namespace else "default"


def _duplicates(workspaces: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Found]:
    first: dict[tuple[str, str], str] = {}
    found: list[Found] = []
    for file, body in workspaces:
        key = _identity(body)
        if key[0] and key in first:
            what = f"Workspace {shown(key[0])} is also in {first[key]}"
            found.append(Found(file, Problem("metadata.name", what, "give each its own name")))
        first.setdefault(key, file)
    return found
