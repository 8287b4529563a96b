"""What Tunery knows of models and cards. Data in models.yaml and gpus.yaml; frozen values here.

Leftmost package: everything may import it, it imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Architecture:
    """The numbers of a decoder that the memory estimate needs (transformers' config.json)."""

    model_type: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    tied: bool
    context: int
    """Longest sequence, in tokens."""
    experts: int = 1

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Architecture:
        """From a parsed config.json. Raises ValueError naming the key that is missing or wrong."""
        raise NotImplementedError


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
    tuning: bool = True


@dataclass(frozen=True, slots=True)
class Gpu:
    """An instance type (SKU) and its cards."""

    sku: str
    cloud: str
    card: str
    count: int
    gib_per_gpu: float
    architecture: str
    """"volta", "turing", "ampere", "ada", "hopper", … or a vendor's name for other makers."""
    bf16: bool
    cuda: bool = True
    """False for AMD, Trainium, Inferentia: listed, not tunable."""
    price_usd_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """All presets and instance types known to this installation."""

    presets: tuple[Preset, ...]
    gpus: tuple[Gpu, ...]

    def preset(self, name: str) -> Preset | None:
        """By name, alias or Hugging Face id (letter case does not count).

        Any other `org/name` is a Preset without architecture; anything else is None.
        """
        raise NotImplementedError

    def gpu(self, sku: str) -> Gpu | None:
        """By SKU; letter case does not count."""
        raise NotImplementedError


def load(extra: Sequence[Path] = ()) -> Catalog:
    """The shipped catalog plus users' files of the same form (theirs win)."""
    raise NotImplementedError
