"""What a serving pod asks of its node, and how long it may take to start. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jobs.estimate import GIB
from presets import Architecture

_VLLM_GIB = 3.0
"""Its processes before any weights (measured: peak PSS 2.9-3.1 GiB with a tiny model)."""
_WORKER_GIB = 3.0
"""One more for each further card."""
_TRANSFORMERS_GIB = 1.0
_CACHE_GIB = 1.0
"""Keys and values on a CPU: the least that vLLM takes."""
_SHARD_GIB = 5.0
"""The largest piece of a model: mapped while it is copied to the card."""
_UNKNOWN_GIB = 8.0
_ADAPTERS_DISK_GIB = 4.0
"""Adapters as they came and as they are served, and temporary files."""

# KAITO's own arithmetic: 15 minutes, and 18 seconds for each GiB, between half an hour and three.
_START_S, _START_S_PER_GIB = 15 * 60, 18
_SHORTEST_START_S, _LONGEST_START_S = 30 * 60, 180 * 60


@dataclass(frozen=True, slots=True)
class ServingNeeds:
    """Requests of a serving pod."""

    gpus: int
    memory_gib: int
    disk_gib: int
    start_s: int
    """Until the server answers, downloads included."""


def needs(
    architecture: Architecture | None, gpus: int, *, vllm: bool, on_cpu: bool, local: bool
) -> ServingNeeds:
    """For a model in 16 bits; `local` weights are mounted, so no disk is needed for them."""
    weights_gib = architecture.parameters * 2 / GIB if architecture else _UNKNOWN_GIB
    process_gib = _VLLM_GIB + _WORKER_GIB * max(gpus - 1, 0) if vllm else _TRANSFORMERS_GIB
    on_host_gib = weights_gib + _CACHE_GIB if on_cpu else min(weights_gib, _SHARD_GIB)
    wanted_s = _START_S + _START_S_PER_GIB * weights_gib
    return ServingNeeds(
        gpus=gpus,
        memory_gib=math.ceil(process_gib + on_host_gib),
        disk_gib=math.ceil(_ADAPTERS_DISK_GIB + (0 if local else weights_gib)),
        start_s=math.ceil(min(max(wanted_s, _SHORTEST_START_S), _LONGEST_START_S)),
    )
