"""`preset`: is the model known, may it be tuned or served, and is there a token for a gated one."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.context import Context
from jobs.workspace import V1ALPHA1, V1BETA1, PresetRef, Workspace
from presets import Preset
from presets.problem import Problem, did_you_mean

NEEDS_ACCESS = (
    "This preset requires authentication and needs a modelAccessSecret with HF_TOKEN key under "
    "presetOptions to download the model"
)
NEEDS_IMAGE = "When AccessMode is private, an image must be provided in PresetOptions"


def preset_problems(
    workspace: Workspace, ref: PresetRef, part: str, context: Context
) -> Iterator[Problem]:
    """The rules of `tuning.preset` and `inference.preset`; `part` says which."""
    preset = context.catalog.preset(ref.name)
    if preset is None:
        yield _unsupported(ref.name, part, context)
        return
    if part == "tuning" and not preset.tuning:
        because = f": {preset.why}" if preset.why else ""
        what = f"{preset.name} cannot be tuned{because}"
        yield Problem(f"{part}.preset.name", what, "choose another model")
    if preset.gated and ref.options.model_access_secret is None and ref.options.image is None:
        yield Problem(f"{part}.preset", NEEDS_ACCESS, _ask(preset, part, workspace), "generic")
    private = workspace.api_version == V1ALPHA1 and ref.access_mode == "private"
    if private and ref.options.image is None:
        do = f"write it at {part}.preset.presetOptions.image"
        yield Problem(f"{part}.preset", NEEDS_IMAGE, do, "generic")


def _unsupported(name: str, part: str, context: Context) -> Problem:
    known = (n for p in context.catalog.presets for n in (p.name, p.id, *p.aliases))
    return Problem(
        f"{part}.preset.name",
        f"Unsupported {part} preset name {name[:120]}",
        did_you_mean(name, known) or "name a preset or a Hugging Face id as org/name",
    )


def _ask(preset: Preset, part: str, workspace: Workspace) -> str:
    do = (
        f"accept the licence of {preset.id} on huggingface.co and name a Secret with the key "
        f"HF_TOKEN at {part}.preset.presetOptions.modelAccessSecret"
    )
    old = workspace.api_version == V1ALPHA1
    return f"{do} (with apiVersion: {V1BETA1})" if old else do
