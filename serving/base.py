"""The served model as adapters see it: which modules there are, and how wide.

From config.json where the model's type is known (presets/architecture.py), else from the names and
shapes in its safetensors files. Used by check.py; reads a few kilobytes, never a weight.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from presets import Architecture
from serving import tensors
from serving.plan import ServedModel

Shape = tuple[int, int]
"""Inputs and outputs of a linear layer."""

_ATTENTION = frozenset(["q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "dense"])
_NUMBERED = re.compile(r"(?:^|\.)([^.]+\.[0-9]+\..*)")


@dataclass(frozen=True, slots=True)
class Base:
    """A base model: who it is, and its linear layers by full name."""

    id: str
    also: tuple[str, ...] = ()
    revision: str | None = None
    modules: Mapping[str, Shape] | None = None
    """None: this type of model is not known, and its files do not tell."""
    by_tail: bool = False
    """The names are those of files: a class may put something before `layers.0.…`."""

    def is_(self, model_id: str) -> bool:
        """Whether the id means this model; the hub does not tell letter case apart."""
        return model_id.lower() in (name.lower() for name in (self.id, *self.also))

    def shapes(self, module: str) -> frozenset[Shape]:
        """The shapes that a module of this name may have; none when there is no such module."""
        known = self.modules or {}
        if module in known:
            return frozenset([known[module]])
        tail = _tail(module) if self.by_tail else ""
        return frozenset(shape for name, shape in known.items() if tail and _tail(name) == tail)


def read(model: ServedModel, folder: Path, revision: str | None) -> Base:
    """The model in `folder`. Never raises: a model that cannot be read has no known modules."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        config = {}
    config = config if isinstance(config, dict) else {}
    modules, by_tail = _known_modules(config), False
    if modules is None and "quantization_config" not in config:
        modules, by_tail = _modules_in_files(folder), True
    return Base(model.id, model.also, revision, modules, by_tail)


def _known_modules(config: Mapping[str, Any]) -> Mapping[str, Shape] | None:
    try:
        architecture = Architecture.from_config(config)
    except ValueError:
        return None
    return modules_of(architecture) if architecture.known else None


def modules_of(architecture: Architecture) -> Mapping[str, Shape]:
    """Every linear layer of a known decoder, as transformers names them."""
    falcon = architecture.model_type == "falcon"
    blocks, attention = ("transformer.h", "self_attention") if falcon else ("model.layers", "")
    found: dict[str, Shape] = {}
    for number in range(architecture.layers):
        for layer in architecture.linears():
            inside = layer.name in _ATTENTION or layer.name == "query_key_value"
            part = (attention or "self_attn") if inside else "mlp"
            name = f"{blocks}.{number}.{part}.{layer.name}"
            found[name] = (layer.inputs, layer.outputs)
    if not architecture.tied:
        found["lm_head"] = (architecture.hidden, architecture.vocab)
    return found


def _modules_in_files(folder: Path) -> Mapping[str, Shape] | None:
    found: dict[str, Shape] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            found |= dict(_linears(tensors.header(path)))
    except (OSError, ValueError):
        return None
    return found or None


def _linears(entries: list[tensors.Entry]) -> Iterator[tuple[str, Shape]]:
    """Matrices inside numbered blocks: embeddings and heads stay out."""
    for entry in entries:
        name = entry.name.removesuffix(".weight")
        if name != entry.name and len(entry.shape) == 2 and _tail(name):
            outputs, inputs = entry.shape
            yield name, (inputs, outputs)


def _tail(module: str) -> str:
    """`a.b.layers.0.attn.q` → `layers.0.attn.q`; empty outside numbered blocks."""
    match = _NUMBERED.search(module)
    return match[1] if match else ""
