"""Facts → the whole wanted `.status` of a Workspace. Last step of jobs/decide.py; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.facts import Facts, NodesVerdict, WantedRun

__all__ = ["Facts", "NodesVerdict", "WantedRun", "status"]

Object = Mapping[str, Any]


def status(facts: Facts, previous: Object, now: str) -> dict[str, Any]:
    """What the Workspace's status should be; `previous` is the last one written, `now` RFC 3339."""
    kept = {k: previous[k] for k in ("attempts", "progress", "output") if k in previous}
    return {
        "state": "Pending",
        "observedGeneration": facts.generation,
        "workerNodes": sorted(facts.nodes.workers),
        "targetNodeCount": facts.nodes.target,
        **kept,
    }
