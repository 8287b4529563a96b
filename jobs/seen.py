"""What the cluster shows of one Workspace, as frozen values: all that deciding may look at.

The operator's informers make these from raw objects (jobs/slim.py reads their keys) and compare old
with new, so a field here is a reason to wake up (unless it is not compared) and nothing else is.
Times are RFC 3339 text as Kubernetes writes them; absent ones are "".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from serving.lastwords import ServeWords

__all__ = [
    "Condition",
    "Container",
    "Holder",
    "Job",
    "Node",
    "Note",
    "Pod",
    "Progress",
    "Revision",
    "Seen",
    "ServeWords",
    "Snapshot",
    "Tuned",
]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of a Job, a pod or a node."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: str = ""
    """lastTransitionTime."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container's status; `state` "" when the kubelet has not said anything yet."""

    name: str
    init: bool
    state: Literal["", "waiting", "running", "terminated"]
    reason: str = ""
    message: str = ""
    """Of a terminated one: the termination message (tuning/lastwords.py)."""
    exit_code: int | None = None
    started_at: str = ""
    finished_at: str = ""
    image: str = ""
    last: Container | None = None
    """How it ended the last time, of one that was started again."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the Workspace."""

    name: str
    uid: str
    created_at: str
    phase: str
    reason: str = ""
    """status.reason, such as Evicted."""
    message: str = ""
    node: str = ""
    ip: str = ""
    run: str = ""
    """Label tunery.sh/run: which run it belongs to."""
    adapters: str = ""
    """Annotation tunery.sh/adapters: the set of live adapters that it was told of last."""
    deleting: bool = False
    gone_by: str = ""
    """metadata.deletionTimestamp: when its grace period ends."""
    conditions: tuple[Condition, ...] = ()
    containers: tuple[Container, ...] = ()
    images: tuple[str, ...] = ()
    """References of its image volumes, to tell which pull failed."""

    def url(self, port: int, path: str) -> str:
        """Where it answers; it has an ip."""
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"http://{host}:{port}{path}"


@dataclass(frozen=True, slots=True)
class Job:
    """The Job (or, of another owner, whoever took its name)."""

    name: str
    uid: str
    owner_uid: str
    """uid of its controller; "" when it has none."""
    run: str
    """Label tunery.sh/run."""
    deleting: bool = False
    has_pods: bool = False
    """Some that are not over, on their way out, or not counted yet."""
    ready: bool = field(default=False, compare=False)
    """Some that are ready. Nobody is woken by it: the pods tell it themselves, a second earlier."""
    failed: int = 0
    succeeded: int = 0
    suspended: bool = False
    started_at: str = field(default="", compare=False)
    completed_at: str = ""
    conditions: tuple[Condition, ...] = ()
    """Those about its end."""
    mutable: tuple[object, ...] = ()
    """What may be edited by hand and is put back: compared with the wanted one."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whoever has a name that a serving needs: a StatefulSet or a Service, ours or not."""

    name: str
    uid: str
    owner_uid: str
    """uid of its controller; "" when it has none."""
    run: str = ""
    """Label tunery.sh/run."""
    digest: str = ""
    """Annotation tunery.sh/digest: of what it was made of."""
    secrets: tuple[str, ...] = ()
    """Annotation tunery.sh/pull-secrets, in order."""
    surge: bool = False
    """Annotation tunery.sh/surge: it has one pod more than it should."""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A node, without its heartbeats."""

    name: str
    ready: bool
    labels: Mapping[str, str]
    gpus: int
    """allocatable nvidia.com/gpu."""
    memory_bytes: int = 0
    """allocatable."""
    unschedulable: bool = False
    kubelet: str = ""
    """Its version, v1.36.3."""
    runtime: str = ""
    """The container runtime and its version, containerd://2.4.2."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A ControllerRevision of the Workspace."""

    name: str
    number: int
    hash: str
    """Annotation workspace.kaito.io/hash, whole."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A ConfigMap tunery.sh/run=HASH that holds run.json or plan.json."""

    name: str
    run: str
    digest: str = ""
    """Annotation tunery.sh/digest: of a plan with live adapters, which set it asks for."""


@dataclass(frozen=True, slots=True)
class Note:
    """A Warning event about an object of the Workspace, which no status repeats.

    A Job's FailedCreate (quota, Pod Security), a pod's FailedMount (Secret missing) and the like.
    """

    about_uid: str
    reason: str
    message: str
    at: str = ""
    """When it was last seen, in whole seconds."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the training pod's /metrics said last."""

    pod_uid: str
    step: int
    of: int
    loss: float | None = None
    tokens_per_s: float | None = None
    eta_s: float | None = None
    kept_step: int | None = None
    """Of the newest checkpoint that outlives the pod."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """Another Workspace, as one that serves its adapter sees it."""

    tunes: bool
    outcome: str = ""
    """Of its run: Succeeded, Failed, or "" while there is none."""
    image: str = ""
    """Where its adapter was pushed to."""
    digest: str = ""
    base_model: str = ""
    base_revision: str = ""
    push_secret: str = ""
    """Registry Secret of its namespace; who may push there may pull."""
    volume: Mapping[str, Any] | None = None
    """core/v1 VolumeSource that its adapter was written to."""
    shared_with: tuple[str, ...] = ()
    """Other namespaces that may serve it; "*" is any."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything about one Workspace at one moment."""

    job: Job | None = None
    pods: tuple[Pod, ...] = ()
    nodes: tuple[Node, ...] = ()
    """All nodes of the cluster; jobs/nodes.py chooses."""
    revisions: tuple[Revision, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    config_maps: Mapping[tuple[str, str], Mapping[str, str]] | None = None
    """Those that hold a training or inference configuration: (namespace, name) → data."""
    notes: tuple[Note, ...] = ()
    tuned: Mapping[tuple[str, str], Tuned] | None = None
    """Workspaces whose adapters this one serves: (namespace, name); one that is gone is absent."""
    stateful_set: Holder | None = None
    services: tuple[Holder, ...] = ()
    """Those with the Workspace's name, and that of its headless Service."""
    progress: Progress | None = None
    served: Mapping[str, ServeWords] | None = None
    """What servers with live adapters said last: of each life (jobs/serving/said.py) of a pod."""
