"""What is mounted in a serving pod, where, and in which of its two containers.

Secrets are files, and only `prepare` sees them: the server has neither a hub token nor registry
logins, and reads what `prepare` wrote without being able to change it. The paths stand in plan.json
as well: `places` and `mounts` are the two sides of one agreement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobs import volumes
from jobs.installation import Installation
from jobs.serving.sources import Sources
from jobs.volumes import Mount, secret_volume
from jobs.workspace import PresetRef
from presets import Preset
from serving.plan import ServePlaces

PLAN = volumes.RUN
PLAN_VOLUME, HUB_VOLUME = "plan", "hub"
_TERMINATION_LOG = "/dev/termination-log"
_PLACES = ServePlaces()


def places(ref: PresetRef, sources: Sources, installation: Installation) -> ServePlaces:
    """The paths as `prepare` is told them."""
    ca = installation.registry_ca_config_map
    pulls = range(len(sources.pull_secrets))
    return ServePlaces(
        pull_auth=tuple(f"{volumes.PULL}-{number}" for number in pulls),
        registry_ca=f"{volumes.CA}/{volumes.CA_KEY}" if ca else None,
        insecure_registries=installation.insecure_registries,
        hub_token=f"{volumes.HUB}/{volumes.TOKEN_KEY}" if ref.options.model_access_secret else None,
        termination_log=_TERMINATION_LOG,
    )


def mounts(
    ref: PresetRef, preset: Preset, plan: str, sources: Sources, installation: Installation
) -> tuple[Mount, ...]:
    """Every mount of a serving pod; a volume stands twice where its two containers differ."""
    return (
        *_own(plan),
        *_model(ref, preset, installation),
        *sources.mounts,
        *_pulls(sources.pull_secrets),
        *_authority(installation),
    )


def _own(plan: str) -> Iterator[Mount]:
    yield Mount(PLAN_VOLUME, {"configMap": {"name": plan}}, PLAN, main=False)
    yield from _handed_over("adapters", _PLACES.adapters)
    yield from _handed_over("ready", _PLACES.ready)
    yield Mount("tmp", {"emptyDir": {}}, "/tmp", read_only=False)  # noqa: S108 the pod's own
    # The default of 64 MiB is refused by vLLM on CPUs, and too little for NCCL between cards.
    shm = {"emptyDir": {"medium": "Memory"}}
    yield Mount("shm", shm, "/dev/shm", read_only=False, prepare=False)  # noqa: S108


def _handed_over(name: str, path: str) -> Iterator[Mount]:
    """Written by `prepare`, read by the server."""
    yield Mount(name, {"emptyDir": {}}, path, read_only=False, main=False)
    yield Mount(name, {"emptyDir": {}}, path, prepare=False)


def _model(ref: PresetRef, preset: Preset, installation: Installation) -> Iterator[Mount]:
    image = volumes.weights_image(ref, preset, installation)
    if image is not None:
        yield Mount("weights", {"image": {"reference": image}}, volumes.WEIGHTS)
    else:
        yield from _handed_over("model", _PLACES.model)
    secret = ref.options.model_access_secret
    if secret is not None:
        yield Mount(HUB_VOLUME, secret_volume(secret, volumes.TOKEN_KEY), volumes.HUB, main=False)


def _pulls(secrets: Sequence[str]) -> Iterator[Mount]:
    for number, secret in enumerate(secrets):
        path = f"{volumes.PULL}-{number}"
        yield Mount(f"pull-{number}", secret_volume(secret), path, main=False)


def _authority(installation: Installation) -> Iterator[Mount]:
    if installation.registry_ca_config_map:
        # Optional: a namespace that uses no in-house server need not have it.
        source = {"name": installation.registry_ca_config_map, "optional": True}
        yield Mount("ca", {"configMap": source}, volumes.CA, main=False)
