"""What a status is made from: everything `decide` has found out about one Workspace.

jobs/decide.py fills it, jobs/status.py reads it. Data only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jobs.seen import Job, Pod, Seen
from jobs.workspace import Workspace
from presets.problem import Problem, errors


@dataclass(frozen=True, slots=True)
class NodesVerdict:
    """jobs/nodes.py's answer: is there somewhere to run?"""

    ready: bool
    reason: str
    """Of the conditions NodesReady and ResourceReady: NodesReady, NodeNotReady, …"""
    message: str
    workers: tuple[str, ...] = ()
    """Names of the nodes that match."""
    target: int = 1
    """Nodes wanted."""


@dataclass(frozen=True, slots=True)
class ServingVerdict:
    """jobs/serving's answer: do all models answer, and what of each adapter?"""

    ready: bool
    reason: str
    """Of the condition InferenceReady."""
    message: str
    answers: bool = False
    """At least one pod does."""
    adapters: tuple[Mapping[str, Any], ...] = ()
    """`status.adapters`."""


@dataclass(frozen=True, slots=True)
class WantedRun:
    """The run that the Workspace asks for now."""

    revision: int
    hash: str
    """Whole; objects carry its first ten digits."""
    snapshot: str = ""
    """Name of the ConfigMap with run.json; "" before it is known."""
    base_model: str = ""
    base_revision: str = ""
    output_image: str = ""
    """Reference the adapter is pushed to; "" when the output is a volume."""

    @property
    def short(self) -> str:
        """The value of the label tunery.sh/run."""
        return self.hash[:10]


@dataclass(frozen=True, slots=True)
class Facts:
    """One Workspace at one moment, with what was concluded about it."""

    name: str
    uid: str
    generation: int
    kind: Literal["tuning", "inference"]
    nodes: NodesVerdict
    seen: Seen
    workspace: Workspace | None = None
    """None when it cannot be read at all."""
    problems: tuple[Problem, ...] = ()
    """Errors among them mean that it is refused: nothing is made for it."""
    run: WantedRun | None = None
    """None when it could not be resolved: what is known of earlier runs is then kept."""
    waiting: str = ""
    """What a new run waits for: `the Job of revision 1 is being stopped`."""
    error: str = ""
    """Text of the last reconcile's error; "" when it went well."""
    gpus_per_pod: int = 0
    card_gib: float = 0
    """Predicted peak memory of one card."""
    memory_gib: int = 0
    """Memory limit of the tuning pod, which is its predicted need."""
    suspended: bool = False
    """The Job's spec.suspend."""
    serving: ServingVerdict | None = None
    """Of an inference Workspace that can be read."""

    @property
    def refused(self) -> tuple[Problem, ...]:
        return errors(self.problems)

    @property
    def job(self) -> Job | None:
        """The Job of the wanted run, if it is ours."""
        job = self.seen.job
        ours = job is not None and job.owner_uid == self.uid
        return job if ours and self.run and job and job.run == self.run.short else None

    @property
    def foreign_job(self) -> bool:
        """The Job's name is taken by somebody else."""
        return self.seen.job is not None and self.seen.job.owner_uid != self.uid

    @property
    def pods(self) -> tuple[Pod, ...]:
        """Pods of the wanted run, oldest first."""
        if self.run is None:
            return ()
        short = self.run.short
        mine = [pod for pod in self.seen.pods if pod.run == short]
        return tuple(sorted(mine, key=lambda pod: (pod.created_at, pod.name)))
