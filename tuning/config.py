"""The user's training configuration: KAITO's `training_config.yaml`, key for key.

The only file that knows its spelling. Text → frozen values, each with where it came from, or every
problem at once. Used by admission, the command line and the pod alike. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from presets.problem import Problem

Method = Literal["lora", "qlora"]
Source = Literal["user", "preset", "method", "default", "memory", "hardware"]
CONFIG_KEY = "training_config.yaml"
"""The key in the ConfigMap's data."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSection(_Section):
    """ModelConfig: how the base model is loaded."""

    dtype: str | None = None
    """"bfloat16", "float16", "float32", or None: chosen for the card."""
    chat_template: str | None = None
    attn_implementation: str | None = None
    revision: str | None = None


class QuantizationSection(_Section):
    """QuantizationConfig: bitsandbytes."""

    load_in_4bit: bool = False
    load_in_8bit: bool = False
    bnb_4bit_quant_type: str = "nf4"
    bnb_4bit_compute_dtype: str | None = None
    bnb_4bit_use_double_quant: bool = True


class DatasetSection(_Section):
    """DatasetConfig: which rows, which columns."""

    dataset_path: str | None = None
    dataset_extension: str | None = None
    shuffle_dataset: bool = True
    shuffle_seed: int = 42
    context_column: str | None = None
    response_column: str | None = None
    messages_column: str | None = None
    train_test_split: float = 1.0
    """Share that is trained on; 1 keeps no evaluation split."""
    max_bad_rows: float = 0.01
    """Share of rows that may be dropped as unusable (ours, additive)."""


class TrainingConfig(_Section):
    """Everything that shapes the adapter, with defaults filled in."""

    method: Method
    model: ModelSection
    quantization: QuantizationSection
    dataset: DatasetSection
    lora: Mapping[str, Any]
    """Options of peft.LoraConfig by their own names."""
    training: Mapping[str, Any]
    """Options of trl.SFTConfig by their own names."""
    output_dir: str = "/mnt/results"
    sources: Mapping[str, Source] = {}
    """Dotted path ("training.learning_rate") → where the value came from."""

    def with_values(self, section: str, values: Mapping[str, Any], source: Source) -> TrainingConfig:
        """A copy with `values` set in section "lora", "training" or "model", their source noted."""
        raise NotImplementedError


def parse(text: str | None, method: Method) -> tuple[TrainingConfig | None, tuple[Problem, ...]]:
    """The text of `training_config.yaml` (None: nothing but defaults) → configuration, problems.

    The configuration is None exactly when a problem is an error. Paths in problems start with
    "training_config".
    """
    raise NotImplementedError
