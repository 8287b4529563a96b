"""How many optimizer steps a run will take: arithmetic over row lengths, known before training.

`prepare` and `tunery check` show it; `train` is held to it by a test against TRL's own packing.
Pure, imports no torch.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from presets.problem import Problem
from tuning.config import TrainingConfig

FEW_STEPS = 30
"""Below this an adapter has hardly moved: warm-up and decay take most of it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The shape of a run."""

    sequences: int
    """What one epoch feeds the model: packed sequences, or rows."""
    steps_per_epoch: int
    steps: int
    epochs: float
    tokens: int
    """Real tokens of the whole run, padding not counted."""


def schedule(lengths: Sequence[int], config: TrainingConfig, gpus: int = 1) -> Schedule:
    """From the token length of every training row to the steps of the run.

    Follows transformers' Trainer: the last, smaller accumulation of an epoch is a step too, and
    `max_steps` wins over epochs.
    """
    options = config.training
    batch = int(options.get("per_device_train_batch_size") or 8) * max(gpus, 1)
    accumulate = int(options.get("gradient_accumulation_steps") or 1)
    longest = int(options.get("max_length") or 0) or max(lengths, default=1)
    cut = [min(length, longest) for length in lengths]
    sequences = packed(cut, longest) if options.get("packing") else len(cut)
    per_epoch = max(math.ceil(math.ceil(sequences / batch) / accumulate), 1)
    limit = int(options.get("max_steps") or -1)
    epochs = float(options.get("num_train_epochs") or 3.0)
    steps = limit if limit > 0 else math.ceil(epochs * per_epoch)
    shown_epochs = steps / per_epoch if limit > 0 else epochs
    return Schedule(sequences, per_epoch, steps, shown_epochs, round(sum(cut) * shown_epochs))


def packed(lengths: Iterable[int], longest: int) -> int:
    """Sequences of at most `longest` tokens that best-fit-decreasing packing makes of the rows.

    The number that TRL's `bfd` strategy yields (arXiv 2404.10830); rows are never split.
    """
    spaces: list[int] = []
    sequences = 0
    for length in sorted((n for n in lengths if n > 0), reverse=True):
        fitting = bisect.bisect_left(spaces, length)
        if fitting == len(spaces):
            sequences += 1
            left = longest - length
        else:
            left = spaces.pop(fitting) - length
        bisect.insort(spaces, left)
    return sequences


def warnings(plan: Schedule, config: TrainingConfig) -> tuple[Problem, ...]:
    """What somebody would regret after the run: too few steps to learn anything."""
    if plan.steps >= FEW_STEPS or (config.training.get("max_steps") or -1) > 0:
        return ()
    what = f"only {plan.steps} optimizer steps in all: too few for an adapter to learn much"
    do = (
        "raise num_train_epochs, or lower per_device_train_batch_size, "
        "gradient_accumulation_steps or max_length"
    )
    return (Problem("training_config.TrainingArguments", what, do, warning=True),)
