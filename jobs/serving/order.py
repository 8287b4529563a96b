"""One serving of a Workspace, ready to be made: what jobs/serve.py turns into objects.

`order` resolves it from a Workspace without problems. Its hash is of what the user asked for and
what the adapters are, not of how this version of Tunery writes it: an upgrade restarts no server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs import marks, volumes
from jobs.context import Context
from jobs.installation import Installation
from jobs.rules.config import config_map_text
from jobs.rules.general import live, runtime
from jobs.rules.inference import CONFIG_KEY, vllm_options
from jobs.serving import flags, mounts
from jobs.serving.sources import Sources
from jobs.workspace import PresetRef, Workspace
from presets import Gpu, Preset
from serving.plan import Runtime, ServedModel, ServePlan, adapter_set
from tuning.run import canonical


@dataclass(frozen=True, slots=True)
class ServeOrder:
    """One serving."""

    workspace: Workspace
    hash: str
    revision: int
    sources: Sources = field(default_factory=Sources)
    preset: Preset | None = None
    """None: the user's own pod template is served."""
    plan: ServePlan | None = None
    gpus: int = 0
    """Cards of each pod; 0 for a CPU."""
    card: Gpu | None = None
    on_cpu: bool = False
    """The server computes on the CPU, also where the pod holds (pretended) GPUs."""
    restarted_for: str = ""
    """The set of live adapters that the pods were last replaced for."""
    surge: bool = False
    """One pod more, while the only one is replaced (surge.py)."""

    @property
    def live(self) -> bool:
        """Adapters change in the running server."""
        return self.plan is not None and self.plan.live

    @property
    def ref(self) -> PresetRef | None:
        return self.workspace.inference.preset if self.workspace.inference else None


def order(
    workspace: Workspace,
    run_hash: str,
    revision: int,
    sources: Sources,
    card: Gpu | None,
    gpus: int,
    context: Context,
    installation: Installation,
    restarted_for: str = "",
) -> ServeOrder:
    """The serving that a Workspace asks for now.

    `run_hash` is that of jobs/revision.py; where adapters are live, without them.
    """
    inference = workspace.inference
    ref = inference.preset if inference else None
    preset = context.catalog.preset(ref.name) if ref else None
    if ref is None or preset is None:
        return ServeOrder(workspace, _hash(run_hash, None, sources), revision, gpus=gpus)
    on_cpu = installation.device == "cpu"
    own = _options(workspace, context) if runtime(workspace) == "vllm" else {}
    together, is_live = workspace.annotations.get(marks.TOGETHER), live(workspace)
    plan = ServePlan(
        workspace=workspace.name,
        namespace=workspace.namespace,
        runtime=_runtime(workspace),
        model=_model(ref, preset, sources, installation),
        adapters=sources.plans,
        together=together,
        flags=flags.vllm(preset, card, gpus, on_cpu=on_cpu),
        user_flags=flags.of_user(own),
        places=mounts.places(ref, sources, installation),
        live=is_live,
        adapter_set=adapter_set(sources.plans, together) if is_live else "",
    )
    again = restarted_for if is_live else ""
    found = _live_hash(run_hash, sources, again) if is_live else _hash(run_hash, plan, sources)
    return ServeOrder(workspace, found, revision, sources, preset, plan, gpus, card, on_cpu, again)


def _runtime(workspace: Workspace) -> Runtime:
    return "transformers" if runtime(workspace) == "transformers" else "vllm"


def _model(
    ref: PresetRef, preset: Preset, sources: Sources, installation: Installation
) -> ServedModel:
    mounted = volumes.weights_image(ref, preset, installation) is not None
    # A model without a pinned commit is served at the one that its adapters were trained on.
    trained_on = next((pin.revision for pin in sources.pins if pin.revision), None)
    return ServedModel(
        name=ref.name,
        id=preset.id,
        also=tuple(alias for alias in preset.aliases if "/" in alias),
        revision=preset.revision or trained_on,
        path=volumes.WEIGHTS if mounted else None,
    )


def _options(workspace: Workspace, context: Context) -> Mapping[str, Any]:
    """The `vllm:` map of the user's ConfigMap; the rules have told what is wrong with it."""
    name = workspace.inference.config if workspace.inference else None
    if name is None:
        return {}
    text, _ = config_map_text("inference.config", name, CONFIG_KEY, workspace.namespace, context)
    options, _ = vllm_options(text, "inference.config") if text is not None else ({}, None)
    return options


def _hash(run_hash: str, plan: ServePlan | None, sources: Sources) -> str:
    asked: dict[str, Any] = {"request": run_hash}
    if plan is not None:
        asked["runtime"] = plan.runtime
        asked["together"] = plan.together
        asked["adapters"] = [
            [one.name, one.strength, origin]
            for one, origin in zip(plan.adapters, sources.origins, strict=True)
        ]
    return hashlib.sha256(canonical(asked)).hexdigest()


def _live_hash(request: str, sources: Sources, restarted_for: str) -> str:
    """Of what cannot change in a running pod: what is mounted in it, beside the request itself."""
    asked = {
        "request": request,
        "live": True,
        "secrets": list(sources.pull_secrets),
        "volumes": sorted([mount.path, dict(mount.source)] for mount in sources.mounts),
        "restartedFor": restarted_for,
    }
    return hashlib.sha256(canonical(asked)).hexdigest()
