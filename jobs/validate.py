"""Every rule a Workspace must meet, all problems at once. Called by webhook, reconcile and CLI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jobs.workspace import Workspace
from presets import Catalog
from presets.problem import Problem


@dataclass(frozen=True, slots=True)
class Context:
    """What the rules need to know of the world, gathered by whoever calls."""

    catalog: Catalog
    config_maps: Mapping[tuple[str, str], Mapping[str, str]] | None = None
    """(namespace, name) → data. None: not looked up, so a missing one is only a warning."""
    auto_provisioning: bool = True
    """False: bring your own nodes (KAITO's BYO)."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts or networks that data URLs may name although they are private."""


def validate_create(workspace: Workspace, context: Context) -> tuple[Problem, ...]:
    raise NotImplementedError


def validate_update(old: Workspace, new: Workspace, context: Context) -> tuple[Problem, ...]:
    raise NotImplementedError
