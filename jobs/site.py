"""Where a run happens when it happens in a pod: paths, card, output. For jobs/resolve.py.

The paths are those of jobs/volumes.py. `tunery run` makes the same Site of a laptop's folders.
"""

from __future__ import annotations

from jobs import marks, volumes
from jobs.installation import Installation
from jobs.resolve import Site
from jobs.workspace import Destination, Tuning
from presets import Gpu, Preset
from tuning.reference import parse as parse_reference
from tuning.run import Hardware, Output, Places

_TERMINATION_LOG = "/dev/termination-log"


def of_pod(
    tuning: Tuning, preset: Preset, card: Gpu | None, run_hash: str, installation: Installation
) -> Site:
    """The site of one run's pod."""
    on_cpu = card is not None and card.architecture == "cpu"
    local = volumes.weights_image(tuning.preset, preset, installation) is not None
    has_volume = tuning.input is not None and tuning.input.volume is not None
    return Site(
        places=_places(tuning, run_hash, installation),
        gpu=card,
        hardware=_cpu(card) if card and on_cpu else None,
        model_path=volumes.WEIGHTS if local else None,
        data_path=volumes.DATA if has_volume else None,
        output=_volume_output(tuning.output),
        insecure_registry=_insecure(tuning.output, installation),
        keep_checkpoints=installation.keep_checkpoints,
    )


def _places(tuning: Tuning, run_hash: str, installation: Installation) -> Places:
    destination, source = tuning.output, tuning.input
    on_volume = destination is not None and destination.volume is not None
    push = destination is not None and destination.image and destination.image_push_secret
    token = tuning.preset.options.model_access_secret if tuning.preset else None
    ca = installation.registry_ca_config_map
    pulls = source.image_pull_secrets if source is not None and source.image else ()
    return Places(
        # On the volume, hidden: what a new pod goes on from. Downloads are better near the card.
        work=_on_volume(run_hash) if on_volume else volumes.WORK,
        scratch=volumes.WORK if on_volume else None,
        push_auth=volumes.PUSH if push else None,
        pull_auth=tuple(f"{volumes.PULL}-{number}" for number in range(len(pulls))),
        registry_ca=f"{volumes.CA}/{volumes.CA_KEY}" if ca else None,
        hub_token=f"{volumes.HUB}/{volumes.TOKEN_KEY}" if token else None,
        termination_log=_TERMINATION_LOG,
    )


def _on_volume(run_hash: str) -> str:
    return f"{volumes.OUTPUT}/.tunery/{marks.short(run_hash)}"


def _volume_output(destination: Destination | None) -> Output | None:
    if destination is None or destination.volume is None:
        return None
    return Output(kind="folder", target=volumes.OUTPUT)


def _insecure(destination: Destination | None, installation: Installation) -> bool:
    if destination is None or not destination.image:
        return False
    return parse_reference(destination.image).registry in installation.insecure_registries


def _cpu(card: Gpu) -> Hardware:
    return Hardware(gpus=0, gib_per_gpu=card.gib_per_gpu, bf16=card.bf16, name=card.card)
