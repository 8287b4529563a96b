"""A resolved run → its objects: the snapshot that says everything, the Job that does it.

Called by jobs/decide.py (and by it for `tunery render`). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs import marks, nodes, pod, volumes
from jobs.installation import Installation
from jobs.marks import Owner
from jobs.memory import Plan
from jobs.needs import needs
from jobs.workspace import Workspace
from presets import Preset
from tuning.failure import Kind
from tuning.run import Run, canonical

Object = dict[str, Any]

# Queues of Kueue are chosen on the Job, and people write them where they write everything else.
_QUEUE = "kueue.x-k8s.io/"


@dataclass(frozen=True, slots=True)
class Order:
    """One run, ready to be made."""

    workspace: Workspace
    run_hash: str
    revision: int
    run: Run
    preset: Preset
    plan: Plan | None
    gpus: int
    """Cards that the pod holds: all of the instance, also where the CPU computes."""


def tune(order: Order, owner: Owner, installation: Installation) -> tuple[Object, Object]:
    """The snapshot (a ConfigMap) and the Job."""
    return _snapshot(order, owner), _job(order, owner, installation)


def mutable(owner: Owner, run_hash: str, revision: int, installation: Installation) -> Object:
    """The parts of a run's Job that may be edited by hand and are put back."""
    return {
        "metadata": {
            "labels": marks.labels(owner.name, owner.namespace, run_hash),
            "annotations": {marks.REVISION: str(revision), marks.HASH: run_hash},
        },
        "spec": {"backoffLimit": installation.backoff_limit},
    }


def _snapshot(order: Order, owner: Owner) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": marks.snapshot(owner.name, order.run_hash),
            "namespace": owner.namespace,
            "labels": marks.labels(owner.name, owner.namespace, order.run_hash),
            **owner.references(),
        },
        "immutable": True,
        "data": {marks.RUN_KEY: canonical(order.run.model_dump(mode="json")).decode() + "\n"},
    }


def _job(order: Order, owner: Owner, installation: Installation) -> Object:
    parts = mutable(owner, order.run_hash, order.revision, installation)
    labels = {**_queue(order.workspace), **parts["metadata"]["labels"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": owner.name,
            "namespace": owner.namespace,
            **parts["metadata"],
            "labels": labels,
            **owner.references(),
        },
        "spec": {
            **parts["spec"],
            "podFailurePolicy": failure_policy(),
            "template": _template(order, installation),
        },
    }


def failure_policy() -> Object:
    """A disruption is no failure; what nobody but the user can cure fails at once; others retry.

    No containerName: the codes of `prepare` count as well. Never Ignore an exit code: the Job would
    start pods for ever.
    """
    final = sorted(kind.exit_code for kind in Kind if kind.value.final)
    return {
        "rules": [
            {
                "action": "Ignore",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": final}},
        ]
    }


def _template(order: Order, installation: Installation) -> Object:
    workspace, run = order.workspace, order.run
    tuning = workspace.tuning
    if tuning is None:
        raise ValueError("a Workspace that does not tune has no tuning Job")
    snapshot = marks.snapshot(workspace.name, order.run_hash)
    return pod.template(
        workspace,
        order.run_hash,
        order.revision,
        run,
        volumes.mounts(tuning, order.preset, snapshot, installation),
        needs(
            order.plan,
            order.preset.architecture,
            order.gpus,
            on_cpu=run.hardware.gpus == 0,
            local=run.model.path is not None,
            uploads=run.output.checkpoints,
        ),
        nodes.labels_of(workspace, installation),
        installation,
    )


def _queue(workspace: Workspace) -> dict[str, str]:
    return {k: v for k, v in workspace.labels.items() if k.startswith(_QUEUE)}
