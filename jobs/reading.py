"""A Workspace's own words, read: what stays the same until somebody writes them again.

First step of jobs/case.py. Reading costs a third of a look, and most looks are about pods: whoever
looks often keeps the `Reading` as long as its `Mark` is the same. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs import revision
from jobs.installation import Installation
from jobs.workspace import V1ALPHA1_INSTANCE_TYPE, Workspace, parse
from presets.problem import Problem

_READ = ("apiVersion", "kind", "resource", "tuning", "inference")
_METADATA = ("name", "namespace", "labels", "annotations")

Mark = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is asked for."""

    workspace: Workspace | None
    """None: it cannot be read."""
    problems: tuple[Problem, ...]
    spec: str
    """Of the annotation tunery.sh/spec."""
    bare_hash: str
    """The run's, where no ConfigMap has a part in it."""


def read_words(body: Mapping[str, Any], installation: Installation) -> Reading:
    """Never raises for what a user wrote."""
    workspace, problems = parse(_without_status(body))
    if workspace is None:
        return Reading(None, problems, spec="", bare_hash="")
    return Reading(
        workspace=_as_meant(workspace, installation),
        problems=problems,
        spec=revision.spec_of(body),
        bare_hash=revision.hash_of(body, None),
    )


def mark(body: Mapping[str, Any]) -> Mark | None:
    """Equal for bodies that read alike: the API server counts the changes of all but metadata and
    status. None: nobody counts, as in a file."""
    metadata = body.get("metadata") or {}
    generation = metadata.get("generation")
    if not isinstance(generation, int):
        return None
    return (
        body.get("apiVersion"),
        metadata.get("uid"),
        generation,
        metadata.get("labels"),
        metadata.get("annotations"),
    )


def _without_status(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a user writes: the rest is long, and copying it costs."""
    metadata = body.get("metadata")
    kept = {key: body[key] for key in _READ if key in body}
    if isinstance(metadata, Mapping):
        kept["metadata"] = {key: metadata[key] for key in _METADATA if key in metadata}
    return kept


def _as_meant(workspace: Workspace, installation: Installation) -> Workspace:
    """Without the instance type that v1alpha1's schema filled in where nobody may write one.

    Read back as v1beta1 it looks as if the user had written it.
    """
    resource = workspace.resource
    filled_in = resource.instance_type == V1ALPHA1_INSTANCE_TYPE
    if installation.auto_provisioning or not filled_in:
        return workspace
    without = resource.model_copy(update={"instance_type": None})
    return workspace.model_copy(update={"resource": without})
