"""A cluster of one Workspace, as plain data: what `decide` sees and what its actions do to it.

Not a mock of an API server: it knows only what the operator relies on (apply makes what is absent,
patches merge, a Job that is deleted goes a moment later, what it owned too).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs import slim
from jobs.decide import decide
from jobs.decision import Action, Apply, Decision, Delete, Patch, Ref
from jobs.installation import Installation
from jobs.seen import Node, Seen, Tuned
from presets import Catalog
from serving.lastwords import ServeWords

NOW = "2026-11-27T12:00:00Z"
INSTALLATION = Installation(tuner_image="registry.invalid/tunery-tuner:1")
Object = dict[str, Any]


def node(name: str = "gpu-1", **changes: Any) -> Node:
    """A ready node that fits the Workspaces of rig/manifests.py."""
    labels = {
        "app": "tune-phi-3",
        "node.kubernetes.io/instance-type": "Standard_NC24ads_A100_v4",
    }
    values: dict[str, Any] = {"ready": True, "labels": labels, "gpus": 1, "memory_bytes": 2**36}
    return Node(name=name, **{**values, **changes})


@dataclass
class World:
    """The Workspace (None once it is gone) and everything that belongs to it."""

    body: Object
    catalog: Catalog
    installation: Installation = INSTALLATION
    nodes: tuple[Node, ...] = (node(),)
    configs: dict[str, str] = field(default_factory=dict)
    """ConfigMap name → training_config.yaml."""
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    """(kind, name) → object."""
    pods: list[Object] = field(default_factory=list)
    tuned: dict[tuple[str, str], Tuned] = field(default_factory=dict)
    """Other Workspaces, as one that serves their adapters sees them."""
    served: dict[str, ServeWords] = field(default_factory=dict)
    """What servers with live adapters have said."""
    done: list[Action] = field(default_factory=list)
    _uids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.body["metadata"] = {
            "namespace": "default",
            "uid": "workspace-uid",
            "generation": 1,
            **self.body["metadata"],
        }

    # What users and controllers do.

    def edit(self, path: str, value: Any) -> None:
        """Change a field of the Workspace."""
        *above, last = path.split(".")
        holder = self.body
        for key in above:
            holder = holder.setdefault(key, {})
        holder[last] = value
        self.body["metadata"]["generation"] += 1

    def annotate(self, key: str, value: str) -> None:
        self.body["metadata"].setdefault("annotations", {})[key] = value

    def end_job(self, succeeded: bool) -> None:
        """The Job controller's last word."""
        job = self.job
        if job is None or slim.job(job).deleting or "conditions" in job.get("status", {}):
            return
        condition = {"type": "Complete" if succeeded else "Failed", "status": "True"}
        job["status"] = {
            "startTime": NOW,
            "completionTime": NOW,
            "succeeded" if succeeded else "failed": 1,
            "conditions": [condition],
        }

    def serve(self, ready: bool = True, **state: Any) -> None:
        """The StatefulSet's pods are those of its template; `state` is of the init container."""
        found = next(o for key, o in self.objects.items() if key[0] == "StatefulSet")
        template = copy.deepcopy(found["spec"]["template"])
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        status: Object = {"phase": "Running" if ready else "Pending", "conditions": conditions}
        if state:
            status["initContainerStatuses"] = [{"name": "prepare", **state}]
        self.pods = [
            {
                "metadata": {**template["metadata"], "name": f"{found['metadata']['name']}-{n}"},
                "spec": {**template["spec"], "nodeName": "gpu-1"},
                "status": status,
            }
            for n in range(found["spec"]["replicas"])
        ]

    def remove(self, kind: str) -> None:
        """A hand deletes every object of a kind."""
        for key in [k for k in self.objects if k[0] == kind]:
            self._delete(key)

    def settle(self, most: int = 20) -> World:
        """Reconcile until nothing is left to do."""
        for _ in range(most):
            decision = self.reconcile()
            if not self.tick() and not decision.actions:
                return self
        raise AssertionError(f"still at work after {most} rounds: {decision.actions}")

    # The operator.

    def seen(self) -> Seen:
        def of(kind: str) -> Iterator[Object]:
            return (o for key, o in self.objects.items() if key[0] == kind)

        maps = {
            ("default", name): {"training_config.yaml": text} for name, text in self.configs.items()
        }
        return Seen(
            job=next((slim.job(job) for job in of("Job")), None),
            pods=tuple(slim.pod(pod) for pod in self.pods),
            nodes=self.nodes,
            revisions=tuple(slim.revision(r) for r in of("ControllerRevision")),
            snapshots=tuple(slim.snapshot(m) for m in of("ConfigMap")),
            stateful_set=next((slim.holder(found) for found in of("StatefulSet")), None),
            services=tuple(slim.holder(found) for found in of("Service")),
            tuned=self.tuned,
            config_maps=maps,
            served=self.served,
        )

    def decide(self, error: str = "") -> Decision:
        status = self.body.get("status") or {}
        return decide(self.body, self.seen(), status, self.installation, self.catalog, NOW, error)

    def reconcile(self, cut: int | None = None) -> Decision:
        """One round; with `cut` the operator is killed after so many writes."""
        decision = self.decide()
        for action in decision.actions[:cut]:
            self._do(action)
        if (cut is None or cut > len(decision.actions)) and decision.status is not None:
            self.body["status"] = copy.deepcopy(dict(decision.status))
        return decision

    def tick(self) -> bool:
        """What was deleted is gone, and what it owned; whether there was anything."""
        leaving = [k for k, o in self.objects.items() if "deletionTimestamp" in o["metadata"]]
        for key in leaving:
            del self.objects[key]
            self.pods.clear()
        return bool(leaving)

    @property
    def job(self) -> Object | None:
        return next((o for key, o in self.objects.items() if key[0] == "Job"), None)

    @property
    def status(self) -> Mapping[str, Any]:
        return self.body.get("status") or {}

    def condition(self, type_: str) -> Mapping[str, Any]:
        return next(c for c in self.status["conditions"] if c["type"] == type_)

    def lasting(self) -> Object:
        """Everything whose value must not depend on when the operator was killed."""
        objects = {f"{kind}/{name}": _lasting(o) for (kind, name), o in self.objects.items()}
        return {"objects": objects, "workspace": _lasting(self.body)}

    def _do(self, action: Action) -> None:
        self.done.append(action)
        match action:
            case Apply(wanted):
                key = (wanted["kind"], wanted["metadata"]["name"])
                have = self.objects.get(key)
                made = copy.deepcopy(dict(wanted))
                if have is None:
                    made["metadata"]["uid"] = f"uid-{next(self._uids)}"
                    if key[0] == "Job":  # as the API server does
                        made["spec"].setdefault("parallelism", 1)
                    self.objects[key] = made
                else:
                    assert not have.get("immutable") or have["data"] == made["data"]
                    _merge(have, made)
            case Patch(ref, patch):
                target = self._target(ref)
                assert ref.uid in ("", target["metadata"]["uid"])
                _merge(target, copy.deepcopy(dict(patch)))
            case Delete(ref):
                found = self.objects.get((ref.kind, ref.name))
                if found is not None and ref.uid in ("", found["metadata"]["uid"]):
                    self._delete((ref.kind, ref.name))

    def _target(self, ref: Ref) -> Object:
        if ref.kind == "Pod":
            return next(pod for pod in self.pods if pod["metadata"]["name"] == ref.name)
        return self.body if ref.kind == "Workspace" else self.objects[ref.kind, ref.name]

    def _delete(self, key: tuple[str, str]) -> None:
        if key[0] in ("Job", "StatefulSet"):
            self.objects[key]["metadata"]["deletionTimestamp"] = NOW
        else:
            del self.objects[key]


def _merge(target: Object, patch: Object) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def _lasting(found: Object) -> Object:
    kept = copy.deepcopy(found)
    kept["metadata"].pop("uid", None)
    return kept
