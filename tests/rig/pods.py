"""Workspaces of every kind that tunes, and the Job of one taken apart."""

from __future__ import annotations

from typing import Any

from rig.manifests import Changes, tuning
from rig.world import World, node

from jobs.installation import Installation
from presets import Catalog
from tuning.run import Run

Object = dict[str, Any]
CLAIM = {"persistentVolumeClaim": {"claimName": "mine"}}
IMAGE_INPUT = {
    "tuning.input": {
        "name": "rows",
        "image": "registry.invalid/data/rows:1",
        "imagePullSecrets": ["pull-a", "pull-b"],
    }
}
VOLUME_INPUT = {"tuning.input": {"volumeSource": CLAIM}}
VOLUME_OUTPUT = {"tuning.output": {"volumeSource": CLAIM}}
TOKEN = {"tuning.preset.presetOptions": {"modelAccessSecret": "hub-token"}}
WEIGHTS = {
    "tuning.preset.presetOptions": {
        "image": "registry.invalid/weights/phi-3:1",
        "imagePullSecrets": ["weights-pull"],
    }
}


class Made:
    """One Workspace's Job, taken apart."""

    def __init__(self, catalog: Catalog, changes: Changes, installation: Installation) -> None:
        world = World(tuning(changes), catalog, installation, (node(), node("gpu-2"))).settle()
        assert world.job is not None, world.status["conditions"]
        self.job = world.job
        snapshot = next(o for (kind, _), o in world.objects.items() if kind == "ConfigMap")
        self.run = Run.model_validate_json(snapshot["data"]["run.json"])
        self.snapshot = snapshot
        self.template = self.job["spec"]["template"]
        self.pod = self.template["spec"]
        (self.prepare,) = self.pod["initContainers"]
        (self.main,) = self.pod["containers"]
        self.volumes = {v["name"]: v for v in self.pod["volumes"]}


def sees(container: Object) -> dict[str, Object]:
    return {m["name"]: m for m in container["volumeMounts"]}


def env(container: Object) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}
