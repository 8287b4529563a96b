"""What a training configuration asks of memory: the part that is fixed, and what is left open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jobs.estimate import Dtype, Work
from presets import Architecture, Gpu
from tuning.config import TrainingConfig

DEFAULT_LENGTH = 2048
_DEFAULT_RANK = 8
_DTYPES: Mapping[str, Dtype] = {
    "bfloat16": "bfloat16",
    "float16": "float16",
    "float32": "float32",
}
_EMBEDDINGS = ("lm_head", "embed_tokens")
# transformers 5 renamed the option; the old name is the one KAITO's users write.
_CHECKPOINTING = ("activation_checkpointing", "gradient_checkpointing")


@dataclass(frozen=True, slots=True)
class Demand:
    """The work as configured, at batch 1; None stands for what may be chosen."""

    work: Work
    batch: int | None
    accumulation: int | None
    checkpointing: bool | None
    asked_dtype: str | None
    """What the user wrote, even where the card cannot compute in it."""


def demand(architecture: Architecture, config: TrainingConfig, gpu: Gpu) -> Demand:
    """Read off a parsed configuration; only values whose source is the user are binding."""
    asked = config.model.dtype if config.sources.get("model.dtype") == "user" else None
    checkpointing = next((_user(config, k) for k in _CHECKPOINTING if _set(config, k)), None)
    return Demand(
        work=_work(architecture, config, gpu, _dtype(asked, gpu)),
        batch=_user(config, "per_device_train_batch_size"),
        accumulation=_user(config, "gradient_accumulation_steps"),
        checkpointing=None if checkpointing is None else bool(checkpointing),
        asked_dtype=asked,
    )


def _work(architecture: Architecture, config: TrainingConfig, gpu: Gpu, dtype: Dtype) -> Work:
    saved = config.lora.get("modules_to_save") or ()
    length = config.training.get("max_length") or architecture.context
    return Work(
        weight_bits=_weight_bits(config, dtype),
        rank=int(config.lora.get("r") or _DEFAULT_RANK),
        targets=_targets(config.lora.get("target_modules"), architecture),
        batch=1,
        length=min(int(length), architecture.context),
        checkpointing=False,
        dtype=dtype,
        double_quant=config.quantization.bnb_4bit_use_double_quant,
        packed=bool(config.training.get("packing")),
        plain_head=gpu.architecture == "cpu",
        trained_embeddings=sum(name in saved for name in _EMBEDDINGS),
    )


def _weight_bits(config: TrainingConfig, dtype: Dtype) -> Literal[4, 8, 16, 32]:
    if config.quantization.load_in_4bit:
        return 4
    if config.quantization.load_in_8bit:
        return 8
    return 32 if dtype == "float32" else 16


def _dtype(asked: str | None, gpu: Gpu) -> Dtype:
    """The user's; but 16 bits are float16 where the card has no bfloat16, as the trainer does."""
    natural: Dtype = "bfloat16" if gpu.bf16 else "float16"
    chosen = _DTYPES.get(asked or natural, natural)
    return natural if chosen == "bfloat16" else chosen


def _targets(value: Any, architecture: Architecture) -> tuple[str, ...]:
    """Names of layers in a block; empty for all, and for a pattern: never estimate too little."""
    if not isinstance(value, list | tuple):
        return ()
    last = {str(name).rsplit(".", 1)[-1] for name in value}
    return tuple(layer.name for layer in architecture.linears() if layer.name in last)


def _set(config: TrainingConfig, key: str) -> bool:
    return config.sources.get(f"training.{key}") == "user"


def _user(config: TrainingConfig, key: str) -> Any:
    return config.training.get(key) if _set(config, key) else None
