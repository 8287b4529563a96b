"""Numbers that an option can have: one value at a time, by dotted name.

Used by tuning/settings/rules.py. What the libraries would refuse in the pod is refused here; what
they would accept and learn nothing from, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from presets.problem import Problem
from tuning.settings.setting import Settings
from tuning.settings.values import said


@dataclass(frozen=True, slots=True)
class Range:
    """`low` to `high`; an end that is `open` does not belong to it."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Is the value inside?"""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        parts = []
        if self.low > -math.inf:
            parts.append(f"{'above' if self.open_low else 'at least'} {self.low:.10g}")
        if self.high < math.inf:
            parts.append(f"{'below' if self.open_high else 'at most'} {self.high:.10g}")
        return " and ".join(parts)


_COUNT = Range(1)
_POSITIVE = Range(0, open_low=True)
_NOT_NEGATIVE = Range(0)
_SEED = Range(0, 2**32 - 1)
_BETA = Range(0, 1, open_high=True)

RANGES: Mapping[str, Range] = {
    "lora.lora_alpha": _POSITIVE,
    "lora.lora_dropout": _BETA,
    "lora.r": Range(1, 2**16),
    "dataset.max_bad_rows": Range(0, 1),
    "dataset.shuffle_seed": _SEED,
    "dataset.train_test_split": Range(0, 1, open_low=True),
    "training.adam_beta1": _BETA,
    "training.adam_beta2": _BETA,
    "training.adam_epsilon": _NOT_NEGATIVE,
    "training.data_seed": _SEED,
    "training.dataloader_num_workers": Range(0, 256),
    "training.dataloader_prefetch_factor": _COUNT,
    "training.dataset_num_proc": Range(1, 256),
    "training.ddp_bucket_cap_mb": _COUNT,
    "training.ddp_timeout": _COUNT,
    "training.eval_accumulation_steps": _COUNT,
    "training.eval_delay": _NOT_NEGATIVE,
    "training.eval_steps": _POSITIVE,
    "training.gradient_accumulation_steps": _COUNT,
    "training.label_smoothing_factor": _BETA,
    "training.learning_rate": Range(0, 1, open_low=True),
    "training.logging_steps": _POSITIVE,
    "training.max_grad_norm": _NOT_NEGATIVE,
    "training.max_length": _COUNT,
    "training.neftune_noise_alpha": _NOT_NEGATIVE,
    "training.num_train_epochs": _POSITIVE,
    "training.per_device_eval_batch_size": _COUNT,
    "training.per_device_train_batch_size": _COUNT,
    "training.router_aux_loss_coef": _NOT_NEGATIVE,
    "training.save_steps": _POSITIVE,
    "training.seed": _SEED,
    "training.torch_empty_cache_steps": _COUNT,
    "training.warmup_steps": _NOT_NEGATIVE,
    "training.weight_decay": _NOT_NEGATIVE,
}
_WHOLE_ABOVE_ONE = ("training.eval_steps", "training.logging_steps", "training.save_steps")


def out_of_range(settings: Settings) -> Iterator[Problem]:
    """Every number that its option cannot have."""
    for name, range_ in RANGES.items():
        value = settings.get(name)
        if isinstance(value, (int, float)) and not range_.holds(value):
            yield settings.problem(name, f"{value} is out of range", f"write a number {range_}")
    yield from _steps(settings)


def _steps(settings: Settings) -> Iterator[Problem]:
    limit = settings.get("training.max_steps", -1)
    if limit == 0 or limit < -1:
        do = "write a number at least 1, or leave it out to train by epochs"
        yield settings.problem("training.max_steps", f"{limit} is out of range", do)
    for name in _WHOLE_ABOVE_ONE:
        value = settings.get(name, 1)
        if value > 1 and value != int(value):
            do = "write a whole number of steps, or a share of all steps below 1"
            yield settings.problem(name, f"{said(value)} is neither steps nor a share", do)
    ratio = settings.path("training.warmup_steps").endswith("warmup_ratio")
    if ratio and settings.get("training.warmup_steps") >= 1:
        what = f"{settings.get('training.warmup_steps')} is no share of the steps"
        do = "write a number below 1, or warmup_steps with a number of steps"
        yield settings.problem("training.warmup_steps", what, do)
