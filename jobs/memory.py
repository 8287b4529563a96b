"""Will it fit? (architecture, instance type, configuration) → a plan, or what would fit.

Called when a Workspace is admitted and again when its run is resolved. What the user set is kept;
the method is never changed. The arithmetic is in jobs/estimate.py, the words of a refusal in
jobs/refusal.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from jobs import refusal
from jobs.demand import Demand, demand
from jobs.estimate import Dtype, Estimate, Work, estimate
from presets import Architecture, Catalog, Gpu
from presets.problem import Problem
from tuning.config import TrainingConfig

__all__ = ["TOKENS_PER_STEP", "Dtype", "Estimate", "Plan", "plan"]

TOKENS_PER_STEP = 4096
"""Of all cards together, when the user sets no batch.

Eight to sixteen rows of a few hundred tokens, as in QLoRA's, TRL's and torchtune's own recipes:
LoRA learns worse from large batches, and a small data set needs its steps.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was chosen, and what it is expected to need."""

    batch_size: int
    """Sequences per card and pass."""
    gradient_accumulation: int
    checkpointing: bool
    dtype: Dtype
    estimate: Estimate
    """Of one card."""
    max_length: int
    """Tokens per sequence: the configuration's, but never above the model's context."""


def plan(
    architecture: Architecture, gpu: Gpu, config: TrainingConfig, catalog: Catalog
) -> tuple[Plan | None, tuple[Problem, ...]]:
    """The fastest way to run the configuration that fits each card, and warnings.

    Without checkpointing before with it (it computes a third more), then the largest batch; the
    number of sequences per step stays the same. None with one Problem when nothing fits, which
    names both sizes and the nearest changes that do fit.
    """
    if not gpu.cuda:
        return None, (refusal.no_cuda(gpu, catalog),)
    wanted = demand(architecture, config, gpu)
    warnings = refusal.dtype_warnings(wanted, gpu)
    for work, accumulation in _ways(wanted, gpu):
        needed = estimate(architecture, work)
        if needed.total_gib <= gpu.gib_per_gpu:
            return _plan(work, accumulation, needed), warnings
    return None, (*warnings, refusal.too_big(architecture, gpu, wanted, catalog))


def _plan(work: Work, accumulation: int, needed: Estimate) -> Plan:
    return Plan(
        batch_size=work.batch,
        gradient_accumulation=accumulation,
        checkpointing=work.checkpointing,
        dtype=work.dtype,
        estimate=needed,
        max_length=work.length,
    )


def _ways(wanted: Demand, gpu: Gpu) -> Iterator[tuple[Work, int]]:
    """Every allowed way with its accumulation, fastest first."""
    checkpointing = (False, True) if wanted.checkpointing is None else (wanted.checkpointing,)
    for on in checkpointing:
        for batch, accumulation in _batches(wanted, gpu.count):
            yield replace(wanted.work, batch=batch, checkpointing=on), accumulation


def _batches(wanted: Demand, cards: int) -> list[tuple[int, int]]:
    """(batch, accumulation), largest batch first, with the same product.

    Whoever sets a batch and no accumulation gets none, as the library they wrote it for does.
    """
    if wanted.batch is not None:
        return [(wanted.batch, wanted.accumulation or 1)]
    sequences = max(1, TOKENS_PER_STEP // wanted.work.length) if wanted.work.packed else 16
    per_card = max(1, sequences // cards)
    if wanted.accumulation is not None:
        return [(max(1, per_card // wanted.accumulation), wanted.accumulation)]
    return [(b, per_card // b) for b in range(per_card, 0, -1) if per_card % b == 0]
