"""What a tuning pod asks of its node: memory, disk, cards, and time to end well.

Requests, so that the scheduler finds a node where it fits; an estimate never becomes a limit,
because being wrong would then kill what would have run. Pure arithmetic, called by jobs/tune.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jobs.estimate import GIB, Estimate
from jobs.memory import Plan
from presets import Architecture

_PROCESS_GIB = 4.0
"""Python, torch, the CUDA context and its host buffers; 0.6 GiB of it are imports (measured)."""
_CPU_PROCESS_GIB = 1.0
"""The same without CUDA."""
_ROWS_GIB = 1.0
"""Tokenised rows and what reads them; a hundred thousand rows of 500 tokens are 0.4 GiB."""
_SHARD_GIB = 5.0
"""The largest piece of a model on the hub. Weights are mapped, not read: a piece is copied to the
card before the next is touched, and the kernel may drop it then."""
_UNKNOWN_MEMORY_GIB = 8
_DATA_DISK_GIB = 4.0
"""Downloaded data, checked rows, logs and temporary files."""
_CHECKPOINTS = 3
"""Two are kept while the next is written (tuning/training/checkpoint.py); one that has been
removed may still be on its way to the registry (tuning/keeper.py)."""

_BYTES_PER_ADAPTER_WEIGHT = 16  # as jobs/estimate.py counts: the weight, its gradient, Adam's two
_BYTES_SAVED = 12  # a checkpoint has no gradients
_STEP_S = 60
"""A step that is under way is finished first: a save in its middle would not resume bitwise."""
_SLOW_DISK_BYTES_PER_S = 50e6
_SLOW_UPLOAD_BYTES_PER_S = 25e6
_LONGEST_GRACE_S = 600


@dataclass(frozen=True, slots=True)
class Needs:
    """Requests of a tuning pod."""

    gpus: int
    memory_gib: int
    disk_gib: int
    """0: not known, so not asked for."""
    grace_s: int


def needs(
    plan: Plan | None,
    architecture: Architecture | None,
    gpus: int,
    *,
    on_cpu: bool,
    local: bool,
    uploads: bool = False,
) -> Needs:
    """What a plan asks for.

    `local` weights are mounted, so no disk is needed for them. `uploads`: checkpoints go to a
    registry, from the disk and before the pod ends.
    """
    if plan is None or architecture is None:
        return Needs(gpus, _UNKNOWN_MEMORY_GIB, 0, _STEP_S)
    saved_gib = _checkpoint_gib(plan.estimate)
    weights_gib = architecture.parameters * 2 / GIB
    downloaded_gib = 0.0 if local else weights_gib
    return Needs(
        gpus=gpus,
        memory_gib=math.ceil(_memory_gib(plan.estimate, weights_gib, saved_gib, gpus, on_cpu)),
        disk_gib=math.ceil(downloaded_gib + (_CHECKPOINTS + uploads) * saved_gib + _DATA_DISK_GIB),
        grace_s=_grace_s(saved_gib, uploads),
    )


def _memory_gib(
    estimate: Estimate, weights_gib: float, saved_gib: float, gpus: int, on_cpu: bool
) -> float:
    if on_cpu:
        return _CPU_PROCESS_GIB + _ROWS_GIB + estimate.total_gib
    # One process a card, each with its own context; the state to save passes through the host.
    return gpus * _PROCESS_GIB + _ROWS_GIB + min(weights_gib, _SHARD_GIB) + saved_gib


def _checkpoint_gib(estimate: Estimate) -> float:
    return estimate.adapters_gib * _BYTES_SAVED / _BYTES_PER_ADAPTER_WEIGHT


def _grace_s(saved_gib: float, uploads: bool) -> int:
    """From SIGTERM to SIGKILL: the end of a step, a checkpoint on a slow disk, its way out."""
    s_per_byte = 1 / _SLOW_DISK_BYTES_PER_S + uploads / _SLOW_UPLOAD_BYTES_PER_S
    return min(_STEP_S + math.ceil(saved_gib * GIB * s_per_byte), _LONGEST_GRACE_S)
