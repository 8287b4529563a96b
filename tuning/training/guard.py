"""Proof that training did what it says: the base is untouched, the adapter has learned.

Checked before anything is exported. Also turns a full memory or disk into a failure of its kind.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors import SafetensorError

from tuning.failure import Failure, Kind
from tuning.run import Run
from tuning.training.model import trainable

_FEWEST_STEPS = 3
"""The first gradient of a LoRA A matrix is zero, because its B starts at zero; the first step of a
warm-up has a learning rate of zero."""
_FULL_DISK_BYTES = 16 * 1024 * 1024


def fingerprint(model: torch.nn.Module) -> str:
    """A checksum over every bit of the frozen weights, cheap enough for large models.

    Per tensor: name, shape and the sum of its bytes or 16-bit words.
    """
    total = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            total.update(f"{name} {tuple(parameter.shape)} {_word_sum(parameter.data)}\n".encode())
    return total.hexdigest()


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the trainable weights, in main memory."""
    return {name: p.detach().to("cpu", copy=True) for name, p in trainable(model).items()}


def refuse_changed_base(before: str, model: torch.nn.Module) -> None:
    """Raises Failure (INTERNAL) when a frozen weight is not what it was."""
    if fingerprint(model) != before:
        sentence = "the base model's weights changed during training; nothing was exported"
        raise Failure(Kind.INTERNAL, sentence)


def unmoved(before: Mapping[str, torch.Tensor], model: torch.nn.Module) -> tuple[str, ...]:
    """The names of trainable weights that are bitwise what they were."""
    now = trainable(model)
    return tuple(name for name, old in before.items() if torch.equal(old, now[name].cpu()))


def refuse_untrained(still: tuple[str, ...], total: int, steps: int) -> str | None:
    """Judge weights that did not move; returns a warning for few of them.

    A few may rightly stay: experts that no token reached, the vision part of a model that read only
    text. Raises Failure (BAD_CONFIG) when all of them stayed.
    """
    if len(still) == total:
        sentence = (
            f"after {steps} steps the adapter is still what it was before training; raise "
            "training_config.TrainingArguments.learning_rate or train longer"
        )
        raise Failure(Kind.BAD_CONFIG, sentence)
    if not still or steps < _FEWEST_STEPS:
        return None
    return f"{len(still)} of {total} adapter weights did not move, {still[0]} for one"


@contextlib.contextmanager
def as_failures(run: Run) -> Iterator[None]:
    """What memory and disk raise → Failure; everything else passes."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _out_of_memory(run) from error
    except (OSError, RuntimeError, SafetensorError) as error:
        if _is_out_of_memory(error):
            raise _out_of_memory(run) from error
        if _is_full_disk(error, run):
            sentence = (
                f"the disk of {run.places.work} is full; give it more room and run again: "
                "the last whole checkpoint is kept"
            )
            raise Failure(Kind.UNAVAILABLE, sentence) from error
        raise


def _out_of_memory(run: Run) -> Failure:
    asked = run.config.training
    batch = asked.get("per_device_train_batch_size", 8)
    length = asked.get("max_length", 1024)
    tries = [f"per_device_train_batch_size below {batch}"] if batch != 1 else []
    tries.append(f"max_length below {length}")
    if not (asked.get("activation_checkpointing") or asked.get("gradient_checkpointing")):
        tries.append("activation_checkpointing: true")
    if run.method == "lora":
        tries.append("method qlora")
    sentence = (
        f"out of memory with per_device_train_batch_size {batch} and max_length {length}; "
        f"try {', or '.join(tries)}, or a larger instance"
    )
    return Failure(Kind.OUT_OF_MEMORY, sentence)


def _is_out_of_memory(error: Exception) -> bool:
    """torch's CPU allocator and cuBLAS say it in words only."""
    text = str(error).lower()
    return (
        any(
            words in text
            for words in (
                "not enough memory",
                "out of memory",
                "can't allocate memory",
                "alloc_failed",
            )
        )
        or getattr(error, "errno", None) == errno.ENOMEM
    )


def _is_full_disk(error: Exception, run: Run) -> bool:
    """ENOSPC, or torch's own writer ("file write failed") with no room left."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error).lower()
    if "no space left" in text or "os error 28" in text:
        return True
    writing = any(words in text for words in ("inline_container", "iostream", "file write failed"))
    return writing and shutil.disk_usage(run.places.work_dir).free < _FULL_DISK_BYTES


def _word_sum(tensor: Any) -> int:
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    even = flat.numel() % 2 == 0
    words = flat.view(torch.int16) if even else flat
    return int(words.sum(dtype=torch.int64).item())
