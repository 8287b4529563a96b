"""The run's options → trl.SFTConfig, and the settings that Tunery decides itself.

The user's keys were checked by tuning/config.py. What is overridden here is overridden because a
promise depends on it; each with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.trainer_utils import IntervalStrategy, SaveStrategy
from trl import SFTConfig

from presets.problem import printable
from tuning.failure import Failure, Kind
from tuning.run import Run
from tuning.training.device import Device

SEED = 42
_OURS = frozenset(
    {
        # tokens and labels are made in tuning/training/examples.py
        "assistant_only_loss",
        "completion_only_loss",
        "chat_template_path",
        "dataset_text_field",
        "dataset_kwargs",
        "remove_unused_columns",
        # the base is loaded in tuning/training/model.py
        "model_init_kwargs",
        "trust_remote_code",
        # files, reports and resuming
        "output_dir",
        "logging_strategy",
        "logging_steps",
        "logging_nan_inf_filter",
        "report_to",
        "resume_from_checkpoint",
        "save_total_limit",
        "save_only_model",
        "enable_jit_checkpoint",
        "ignore_data_skip",
        "push_to_hub",
        # decided by the device
        "bf16",
        "fp16",
        "use_cpu",
        # deprecated names, translated below
        "gradient_checkpointing",
        "gradient_checkpointing_kwargs",
    }
)


def sft_config(run: Run, device: Device, evaluates: bool) -> SFTConfig:
    """The trainer's arguments. Raises Failure (BAD_CONFIG) when TRL refuses a value."""
    asked = run.config.training
    theirs = {key: value for key, value in asked.items() if key not in _OURS}
    if not evaluates:
        theirs["eval_strategy"] = "no"
    if not run.config.dataset.shuffle_dataset:
        theirs.setdefault("train_sampling_strategy", "sequential")
    try:
        return SFTConfig(**{**theirs, **_checkpointing(asked), **_decided(run, device)})
    except (TypeError, ValueError, ImportError) as error:
        because = printable(" ".join(str(error).split()))[:300]
        sentence = f"training_config.TrainingArguments: {because}"
        raise Failure(Kind.BAD_CONFIG, sentence) from error


def seed(run: Run) -> int:
    """Of the adapter's first weights, the order of rows and dropout."""
    return int(run.config.training.get("seed", SEED))


def epochs_as_steps(args: SFTConfig, steps_per_epoch: int) -> None:
    """Turn "every epoch" into the same number of steps.

    The Trainer evaluates and saves by epoch *after* the last step has ended and been saved; a run
    stopped in between would resume without that evaluation.
    """
    if args.eval_strategy == IntervalStrategy.EPOCH:
        args.eval_strategy, args.eval_steps = IntervalStrategy.STEPS, steps_per_epoch
    if args.save_strategy == SaveStrategy.EPOCH:
        args.save_strategy, args.save_steps = SaveStrategy.STEPS, steps_per_epoch


def _checkpointing(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Activation checkpointing by its new name (the old one warns); off unless asked for."""
    on = asked.get("activation_checkpointing", asked.get("gradient_checkpointing", False))
    options = asked.get(
        "activation_checkpointing_kwargs", asked.get("gradient_checkpointing_kwargs")
    )
    return {"activation_checkpointing": bool(on), "activation_checkpointing_kwargs": options}


def _decided(run: Run, device: Device) -> dict[str, Any]:
    packed = bool(run.config.training.get("packing"))
    return {
        "output_dir": str(run.places.work_dir),
        "use_cpu": device.kind == "cpu",
        "bf16": device.precision == "bfloat16",
        "fp16": device.precision == "float16",
        # every step's loss is in the state: a mean over ten would break at a resume between them
        "logging_strategy": "steps",
        "logging_steps": 1,
        # NaN must be seen, not replaced by the mean of the last losses (the Trainer's default)
        "logging_nan_inf_filter": False,
        # a packed batch has no padding, and its pad token may be the end-of-text token
        "include_num_input_tokens_seen": "all" if packed else "non_padding",
        "prediction_loss_only": True,
        "report_to": "none",
        "disable_tqdm": True,
        # checkpoints are counted and removed in tuning/training/checkpoint.py
        "save_total_limit": None,
        "restore_callback_states_from_checkpoint": False,
        "dataloader_pin_memory": device.kind == "cuda",
    }
