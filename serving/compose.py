"""Adapters with strengths → one adapter that every runtime serves as it is, exactly.

One adapter: a copy whose alpha is multiplied; weights stay byte for byte. Several: their low-rank
factors side by side (A stacked, B beside each other), each scaled before, so that the product is
the weighted sum of what each would add. Never A and B averaged apart: that is another product.
Proven against PEFT's own `add_weighted_adapter` in tests/serving/test_compose.py.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from presets.problem import Problem
from serving import tensors
from serving.adapter import TEMPLATE_FILE, Adapter, about
from serving.check import Limits
from serving.tensors import Floats
from tuning.images.oci import CONFIG_FILE, WEIGHTS_FILE

_FORM = 1
"""Part of every digest: raised when composing writes other bytes than before."""
# Modules are named in full instead: what a stranger wrote here may be a regular expression.
_PLACES = dict.fromkeys(("exclude_modules", "layers_to_transform", "layers_pattern"))


@dataclass(frozen=True, slots=True)
class Weighted:
    """An adapter and how strongly it counts."""

    adapter: Adapter
    strength: float


def digest(parts: Sequence[Weighted]) -> str:
    """The name of what `write` makes of them: equal parts make equal files."""
    said = [_FORM, [[part.adapter.digest, repr(part.strength)] for part in parts]]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def rank(parts: Sequence[Weighted]) -> int:
    """The largest rank of what `write` makes of them."""
    return parts[0].adapter.rank if len(parts) == 1 else max(_ranks(parts).values())


def problems(name: str, parts: Sequence[Weighted], limits: Limits) -> Iterator[Problem]:
    """Why adapters that are each good cannot be served as one, named `name`."""
    if len(parts) < 2:
        return
    ways = {part.adapter.config.fan_in_fan_out for part in parts}
    if len(ways) > 1:
        what = "combines adapters whose weights lie in different ways (fan_in_fan_out)"
        yield about(name, what, "serve them apart")
    together = rank(parts)
    if limits.max_rank is not None and together > limits.max_rank:
        what = f"has rank {together} together, and {limits.runtime} takes at most {limits.max_rank}"
        yield about(name, what, "combine fewer adapters, or some of a lower rank")


def write(parts: Sequence[Weighted], base_id: str, folder: Path) -> None:
    """Write the one adapter into a new folder, readable by every uid. Raises OSError."""
    folder.mkdir(parents=True)
    if len(parts) == 1:
        config = _scaled(parts[0])
        shutil.copyfile(parts[0].adapter.folder / WEIGHTS_FILE, folder / WEIGHTS_FILE)
    else:
        config = _joint(parts)
        _write_joint(parts, folder / WEIGHTS_FILE)
    config = {**config, "base_model_name_or_path": base_id, "inference_mode": True}
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    template = template_of(parts)
    if template is not None:
        (folder / TEMPLATE_FILE).write_text(template, encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)
    folder.chmod(0o755)


def template_of(parts: Sequence[Weighted]) -> str | None:
    """The chat template that all of them were trained with; None for the base's own."""
    found = {part.adapter.template for part in parts}
    return found.pop() if len(found) == 1 else None


def _scaled(part: Weighted) -> dict[str, Any]:
    """The same configuration with every alpha multiplied: that is all that a strength is."""
    config, strength = part.adapter.config, part.strength
    pattern = {key: alpha * strength for key, alpha in config.alpha_pattern.items()}
    return {
        **part.adapter.raw,
        **_PLACES,
        "target_modules": sorted(part.adapter.layers),
        "lora_alpha": config.lora_alpha * strength,
        "alpha_pattern": pattern,
    }


def _joint(parts: Sequence[Weighted]) -> dict[str, Any]:
    """A plain LoRA of scale 1: alpha equals rank, no exceptions."""
    ranks = _ranks(parts)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": max(ranks.values()),
        "lora_alpha": max(ranks.values()),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": parts[0].adapter.config.fan_in_fan_out,
        "use_rslora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        **_PLACES,
        "target_modules": sorted(ranks),
    }


def _ranks(parts: Sequence[Weighted]) -> Mapping[str, int]:
    """By module, of all adapters together."""
    found: dict[str, int] = {}
    for part in parts:
        for module, layer in part.adapter.layers.items():
            found[module] = found.get(module, 0) + layer.a.shape[0]
    return found


def _write_joint(parts: Sequence[Weighted], path: Path) -> None:
    ranks = _ranks(parts)
    widest = max(ranks.values())
    shapes: dict[str, tensors.Shape] = {}
    halves: dict[str, tuple[str, bool]] = {}
    for module in ranks:
        layer = next(p.adapter.layers[module] for p in parts if module in p.adapter.layers)
        key = f"base_model.model.{module}"
        halves |= {f"{key}.lora_A.weight": (module, True), f"{key}.lora_B.weight": (module, False)}
        shapes[f"{key}.lora_A.weight"] = (widest, layer.a.shape[1])
        shapes[f"{key}.lora_B.weight"] = (layer.b.shape[0], widest)
    tensors.write(path, shapes, lambda name: _half(parts, *halves[name], widest))


def _half(parts: Sequence[Weighted], module: str, is_a: bool, widest: int) -> Floats:
    """A stacked or B side by side, zeros up to the widest rank. The scale is all in A."""
    present = [part for part in parts if module in part.adapter.layers]
    layers = [part.adapter.layers[module] for part in present]
    missing = widest - sum(layer.a.shape[0] for layer in layers)
    if is_a:
        scaled = [_scale(p, module) * x.a.floats() for p, x in zip(present, layers, strict=True)]
        return np.pad(np.concatenate(scaled, 0), ((0, missing), (0, 0)))
    return np.pad(np.concatenate([x.b.floats() for x in layers], 1), ((0, 0), (0, missing)))


def _scale(part: Weighted, module: str) -> np.float32:
    """What PEFT multiplies B·A with, times the strength."""
    adapter = part.adapter
    own = adapter.rank_of(module)
    divisor = math.sqrt(own) if adapter.config.use_rslora else own
    return np.float32(part.strength * adapter.alpha_of(module) / divisor)
