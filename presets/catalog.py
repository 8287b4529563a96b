"""What can be named in a Workspace: presets and instance types, looked up by what users write."""

from __future__ import annotations

import re
from dataclasses import dataclass

from presets.architecture import Architecture

# One slash, no leading or doubled dots or dashes: huggingface_hub's validate_repo_id.
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Preset:
    """A model that can be named in a Workspace."""

    name: str
    id: str
    """Hugging Face id, in the hub's own spelling."""
    aliases: tuple[str, ...] = ()
    revision: str | None = None
    licence: str | None = None
    gated: bool = False
    architecture: Architecture | None = None
    """None for a hub id whose config.json has not been read yet."""
    lora_targets: tuple[str, ...] = ()
    """Empty: all linear layers."""
    chat_template: str | None = None
    """A note, or None when the model's own template is right."""
    weights_image: str | None = None
    """KAITO's `name:tag` for the weights. Its own is an artifact for oras; a registry that
    the installation names (weights_registry) has images of these names, which pods mount."""
    tuning: bool = True
    why: str | None = None
    """Why it cannot be tuned, as the end of a sentence; None when it can."""

    def answers_to(self, name: str) -> bool:
        """Whether `name` means this model: its name, alias or whole id; letter case aside."""
        return name.lower() in (n.lower() for n in (self.name, self.id, *self.aliases))


@dataclass(frozen=True, slots=True)
class Gpu:
    """An instance type (SKU) and its cards."""

    sku: str
    cloud: str
    card: str
    count: int
    gib_per_gpu: float
    """What CUDA reports as the card's whole memory; a little less than its name says."""
    architecture: str
    """"volta", "turing", "ampere", "ada", "hopper", … or a vendor's name for other makers."""
    bf16: bool
    cuda: bool = True
    """False for AMD, Trainium, Inferentia: listed, not tunable."""
    price_usd_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """All presets and instance types known to this installation; the first match counts."""

    presets: tuple[Preset, ...]
    gpus: tuple[Gpu, ...]

    def preset(self, name: str) -> Preset | None:
        """By name, alias or Hugging Face id (letter case does not count).

        Any other `org/name` is a Preset without architecture; anything else is None. Never by the
        last part of an id alone: `anyorg/phi-4` is not Microsoft's.
        """
        known = next((p for p in self.presets if p.answers_to(name)), None)
        if known is not None:
            return known
        is_id = _HUB_ID.fullmatch(name) and ".." not in name and "--" not in name
        return Preset(name=name, id=name) if is_id else None

    def gpu(self, sku: str) -> Gpu | None:
        """By SKU; letter case does not count."""
        return next((g for g in self.gpus if g.sku.lower() == sku.lower()), None)
