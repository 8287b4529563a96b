"""What to tell whoever asked for more than the cards hold: both sizes, and what would fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from jobs.demand import Demand
from jobs.estimate import Work, estimate
from presets import Architecture, Catalog, Gpu
from presets.problem import Problem

INSTANCE = "resource.instanceType"
_SHORTEST = 256
# Of a card to name when the model's own need is not known.
_MODEST_GIB = 20


def no_cuda(gpu: Gpu, catalog: Catalog) -> Problem:
    """The instance type's accelerators are not NVIDIA's."""
    what = f"{gpu.sku} has {gpu.card}, and tuning needs NVIDIA cards (CUDA)"
    other = next((g.sku for g in _same_cloud(gpu, catalog) if g.gib_per_gpu > _MODEST_GIB), None)
    return Problem(INSTANCE, what, f"use {other} for one" if other else "use another cloud")


def dtype_warnings(wanted: Demand, gpu: Gpu) -> tuple[Problem, ...]:
    """bfloat16 was asked for on a card that lacks it.

    A warning: KAITO's template says bfloat16, and its examples run on such cards.
    """
    if wanted.asked_dtype != "bfloat16" or gpu.bf16:
        return ()
    what = f"bfloat16 cannot be computed by {gpu.card} of {gpu.sku}; float16 is used instead"
    do = "leave dtype out, or use a card of the Ampere generation or later"
    return (Problem("training_config.ModelConfig.dtype", what, do, warning=True),)


def too_big(architecture: Architecture, gpu: Gpu, wanted: Demand, catalog: Catalog) -> Problem:
    """No allowed way fits."""
    least = _least(wanted)
    needed = estimate(architecture, least).total_gib
    what = (
        f"{gpu.card} of {gpu.sku} has {gpu.gib_per_gpu:.1f} GiB and this needs {needed:.1f} GiB "
        f"({_said(least)})"
    )
    fits = [*_nearest(architecture, gpu, least), *_larger(architecture, gpu, least, catalog)]
    if not fits and least.weight_bits > 4:
        four_bits = replace(least, weight_bits=4)
        larger = _larger(architecture, gpu, four_bits, catalog)
        fits = [f"method: qlora on {instance}" for instance in larger]
    if fits:
        return Problem(INSTANCE, what, "what fits: " + "; or ".join(fits), "generic")
    return Problem(INSTANCE, what, f"no known type of {gpu.cloud} holds it: use a smaller model")


def _least(wanted: Demand) -> Work:
    """The smallest that the user's settings allow."""
    checkpointing = True if wanted.checkpointing is None else wanted.checkpointing
    return replace(wanted.work, batch=wanted.batch or 1, checkpointing=checkpointing)


def _said(work: Work) -> str:
    checkpointing = "with" if work.checkpointing else "without"
    return (
        f"{work.weight_bits}-bit weights, batch {work.batch} of {work.length} tokens, "
        f"{checkpointing} activation checkpointing"
    )


def _nearest(architecture: Architecture, gpu: Gpu, least: Work) -> Iterator[str]:
    """Single changes of the configuration that fit this card, mildest first."""

    def fits(work: Work) -> bool:
        return estimate(architecture, work).total_gib <= gpu.gib_per_gpu

    if not least.checkpointing and fits(replace(least, checkpointing=True)):
        yield "gradient_checkpointing: true"
    smaller = next((b for b in _halves(least.batch, 1) if fits(replace(least, batch=b))), None)
    if smaller:
        yield f"per_device_train_batch_size: {smaller}"
    lengths = _halves(least.length, _SHORTEST)
    shorter = next((n for n in lengths if fits(replace(least, length=n))), None)
    if shorter:
        yield f"max_length: {shorter}"
    if least.weight_bits > 4 and fits(replace(least, weight_bits=4)):
        yield "method: qlora"


def _halves(value: int, lowest: int) -> Iterator[int]:
    """Half of it, half of that, …"""
    while value // 2 >= lowest:
        value //= 2
        yield value


def _larger(architecture: Architecture, gpu: Gpu, least: Work, catalog: Catalog) -> Iterator[str]:
    """The smallest instance type of the same cloud whose cards hold it."""
    needed = estimate(architecture, least).total_gib
    for other in _same_cloud(gpu, catalog):
        if other.gib_per_gpu >= needed:
            yield f"{other.sku} ({other.gib_per_gpu:.1f} GiB)"
            return


def _same_cloud(gpu: Gpu, catalog: Catalog) -> list[Gpu]:
    """CUDA types of the same cloud, fewest cards first, then least memory."""
    types = [g for g in catalog.gpus if g.cuda and g.cloud == gpu.cloud]
    return sorted(types, key=lambda g: (g.count, g.gib_per_gpu, g.sku))
