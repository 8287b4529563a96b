"""What is mounted in a tuning pod, where, and in which of its two containers.

A Secret is a file, and only where it is used: the hub's token and pull logins in `prepare`, the
push login in both (`prepare` asks the registry first). The paths stand in run.json as well: jobs/
site.py and this file are the two sides of one agreement.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.installation import Installation
from jobs.workspace import PresetRef, Tuning
from presets import Preset

WORK = "/work"
DATA = "/data"
OUTPUT = "/output"
WEIGHTS = "/weights"
RUN = "/etc/tunery"
PUSH = "/var/run/tunery/push"
PULL = "/var/run/tunery/pull"
HUB = "/var/run/tunery/hub"
CA = "/var/run/tunery/ca"
CA_KEY = "ca.crt"
TOKEN_KEY = "HF_TOKEN"  # noqa: S105 the name of a key

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mount:
    """One volume of the pod and who sees it."""

    name: str
    source: Mapping[str, Any]
    """core/v1 VolumeSource."""
    path: str
    read_only: bool = True
    prepare: bool = True
    main: bool = True

    def volume(self) -> Object:
        return {"name": self.name, **copy.deepcopy(dict(self.source))}

    def mount(self) -> Object:
        shown: Object = {"name": self.name, "mountPath": self.path}
        return {**shown, "readOnly": True} if self.read_only else shown


def mounts(
    tuning: Tuning, preset: Preset, snapshot: str, installation: Installation
) -> tuple[Mount, ...]:
    """Every volume of a tuning pod."""
    return (
        *_own(snapshot),
        *_input(tuning),
        *_output(tuning),
        *_model(tuning, preset, installation),
        *_authority(installation),
    )


def weights_image(ref: PresetRef | None, preset: Preset, installation: Installation) -> str | None:
    """The image whose files are the base model; None where it is downloaded."""
    named = ref.options.image if ref else None
    if named:
        return named
    if installation.weights_registry and preset.weights_image:
        return f"{installation.weights_registry.rstrip('/')}/{preset.weights_image}"
    return None


def _own(snapshot: str) -> Iterator[Mount]:
    yield Mount("run", {"configMap": {"name": snapshot}}, RUN)
    yield Mount("work", {"emptyDir": {}}, WORK, read_only=False)
    yield Mount("tmp", {"emptyDir": {}}, "/tmp", read_only=False)  # noqa: S108 the pod's own
    # The default of 64 MiB is too little for data loaders and for NCCL between cards.
    shm = {"emptyDir": {"medium": "Memory"}}
    yield Mount("shm", shm, "/dev/shm", read_only=False, prepare=False)  # noqa: S108


def _input(tuning: Tuning) -> Iterator[Mount]:
    source = tuning.input
    if source is None:
        return
    if source.volume is not None:
        yield Mount("data", source.volume, DATA, main=False)
    if source.image is not None:
        for number, secret in enumerate(source.image_pull_secrets):
            name = f"pull-{number}"
            yield Mount(name, secret_volume(secret), f"{PULL}-{number}", main=False)


def _output(tuning: Tuning) -> Iterator[Mount]:
    destination = tuning.output
    if destination is None:
        return
    if destination.volume is not None:
        yield Mount("output", destination.volume, OUTPUT, read_only=False)
    elif destination.image_push_secret is not None:
        yield Mount("push", secret_volume(destination.image_push_secret), PUSH)


def _model(tuning: Tuning, preset: Preset, installation: Installation) -> Iterator[Mount]:
    image = weights_image(tuning.preset, preset, installation)
    if image is not None:
        yield Mount("weights", {"image": {"reference": image}}, WEIGHTS)
    secret = tuning.preset.options.model_access_secret if tuning.preset else None
    if secret is not None:
        yield Mount("hub", secret_volume(secret, TOKEN_KEY), HUB, main=False)


def _authority(installation: Installation) -> Iterator[Mount]:
    if installation.registry_ca_config_map:
        # Optional: a namespace that uses no in-house server need not have it.
        source = {"name": installation.registry_ca_config_map, "optional": True}
        yield Mount("ca", {"configMap": source}, CA)


def secret_volume(name: str, *keys: str) -> Object:
    """A Secret as a volume; with `keys`, only those."""
    items = [{"key": key, "path": key} for key in keys]
    return {"secret": {"secretName": name, **({"items": items} if items else {})}}
