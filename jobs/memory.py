"""Will it fit? Pure arithmetic: (architecture, card, configuration) → GiB needed, and a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from presets import Architecture, Catalog, Gpu
from presets.problem import Problem
from tuning.config import TrainingConfig


@dataclass(frozen=True, slots=True)
class Estimate:
    """Peak memory of one card, in GiB, by what holds it."""

    weights_gib: float
    adapters_gib: float
    activations_gib: float
    head_gib: float
    buffers_gib: float

    @property
    def total_gib(self) -> float:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Plan:
    """What was chosen, and what it is expected to need."""

    batch_size: int
    gradient_accumulation: int
    checkpointing: bool
    dtype: Literal["bfloat16", "float16", "float32"]
    estimate: Estimate


def plan(
    architecture: Architecture, gpu: Gpu, config: TrainingConfig, catalog: Catalog
) -> tuple[Plan | None, tuple[Problem, ...]]:
    """The largest batch that fits, unless the user set it; a refusal says what would fit."""
    raise NotImplementedError
