"""What to do about one Workspace: the answer of `decide`, carried out by operator/reconcile.py.

Data only. The shell runs `actions` in their order and stops at the first that fails; then it writes
`status` if it differs from what was written last, posts `events`, and comes back after
`again_after_s` or when something changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ref:
    """One object by name."""

    api_version: str
    kind: Literal[
        "Job", "ConfigMap", "ControllerRevision", "Pod", "Service", "StatefulSet", "Workspace"
    ]
    namespace: str
    name: str
    uid: str = ""
    """Not empty: a precondition, so that a namesake made since is left alone."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply, one field owner, forced."""

    object: Object


@dataclass(frozen=True, slots=True)
class Patch:
    """JSON merge-patch of the main resource."""

    ref: Ref
    patch: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete; its dependents go first ("Foreground"), so that absence means all is gone."""

    ref: Ref
    at_once: bool = False
    """Without a grace period: of a pod whose node will not answer."""


Action = Apply | Patch | Delete


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event about the Workspace."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    actions: tuple[Action, ...] = ()
    status: Object | None = None
    """The whole wanted `.status`; None leaves it alone (the Workspace is going away)."""
    events: tuple[Event, ...] = ()
    again_after_s: float | None = None
    """A clock to look at again; None waits for a change."""
    watch_progress_of: str = ""
    """http://IP:PORT/metrics of a pod that is training."""
    adapters_of: Mapping[str, str] = field(default_factory=dict)
    """Where servers say which live adapters they have, by their lives (jobs/serving/said.py)."""
