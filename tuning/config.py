"""The user's training configuration: KAITO's `training_config.yaml`, key for key.

Text → frozen values, each with where it came from, or every problem at once. Used by admission,
the command line and the pod alike. Imports no torch. The steps: tuning/settings/read.py (keys and
types), tuning/settings/rules.py (settings that fight), and here defaults and the result.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

import presets
from presets.problem import Problem, errors
from tuning.settings import adapter as config_lora
from tuning.settings import rules as config_rules
from tuning.settings.read import read
from tuning.settings.setting import Settings
from tuning.settings.setting import Source as Source

Method = Literal["lora", "qlora"]
CONFIG_KEY = "training_config.yaml"
"""The key in the ConfigMap's data."""
DEFAULT_OUTPUT_DIR = "/mnt/results"
# TRL's own; Tunery logs every step, and evaluations must not follow that.
_EVAL_STEPS = 10.0


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSection(_Section):
    """ModelConfig: how the base model is loaded."""

    dtype: str | None = None
    """"bfloat16", "float16", "float32", or None: chosen for the card."""
    chat_template: str | None = None
    """The text of a Jinja template; None: the tokenizer's own."""
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
    output_dir: str = DEFAULT_OUTPUT_DIR
    """Resolved as KAITO does: always under /mnt."""
    sources: Mapping[str, Source] = {}
    """Dotted path ("training.learning_rate") → where the value came from."""

    def with_values(
        self, section: str, values: Mapping[str, Any], source: Source
    ) -> TrainingConfig:
        """A copy with `values` set in a section ("lora", "training", "model", "quantization" or
        "dataset"), their source noted.

        Raises pydantic.ValidationError for a key or type that the section does not have.
        """
        old = getattr(self, section)
        if isinstance(old, BaseModel):
            new: Any = type(old).model_validate({**old.model_dump(), **values})
        else:
            new = {**old, **copy.deepcopy(dict(values))}
        sources = {**self.sources, **{f"{section}.{key}": source for key in values}}
        return self.model_copy(update={section: new, "sources": sources})


def parse(text: str | None, method: Method) -> tuple[TrainingConfig | None, tuple[Problem, ...]]:
    """The text of `training_config.yaml` (None: nothing but defaults) → configuration, problems.

    The configuration is None exactly when a problem is an error. Paths in problems start with
    "training_config".
    """
    given, found = read(text, "user") if text is not None else (Settings({}), ())
    settings = config_lora.named_modules(given.over(_defaults_beside(given, method)))
    problems = (*found, *config_rules.check(settings, method))
    return None if errors(problems) else _build(settings, method), problems


@functools.cache
def _defaults(method: Method) -> Settings:
    """What presets/lora.yaml or presets/qlora.yaml says. It is ours: a test holds it to be good."""
    text = Path(presets.__file__).with_name(f"{method}.yaml").read_text("utf-8")
    return read(text, "method")[0]


def _defaults_beside(given: Settings, method: Method) -> Settings:
    """The method's defaults, without those that a choice of the user's replaces."""
    defaults = _defaults(method)
    if given.get("quantization.load_in_8bit", False):
        defaults = defaults.without("quantization.load_in_4bit")
    if given.get("training.max_steps", -1) > 0:
        defaults = defaults.without("training.num_train_epochs")
    return defaults


def _build(settings: Settings, method: Method) -> TrainingConfig:
    model = ModelSection(**_values(settings, "model"))
    quantization = QuantizationSection(**_values(settings, "quantization"))
    dataset = DatasetSection(**_values(settings, "dataset"))
    training = _values(settings, "training")
    asked_dir = training.pop("output_dir", DEFAULT_OUTPUT_DIR)
    if training.get("eval_strategy") == "steps":
        training.setdefault("eval_steps", training.get("logging_steps", _EVAL_STEPS))
    return TrainingConfig(
        method=method,
        model=model,
        quantization=quantization,
        dataset=dataset,
        lora=_values(settings, "lora"),
        training=training,
        output_dir=config_rules.output_dir(asked_dir) or DEFAULT_OUTPUT_DIR,
        sources=_sources(settings, training),
    )


def _sources(settings: Settings, training: Mapping[str, Any]) -> dict[str, Source]:
    """Of every value of the configuration, who chose it."""
    ours: dict[str, type[BaseModel]] = {
        "model": ModelSection,
        "quantization": QuantizationSection,
        "dataset": DatasetSection,
    }
    names = [f"{name}.{key}" for name, section in ours.items() for key in section.model_fields]
    names += [f"training.{key}" for key in training]
    sources: dict[str, Source] = dict.fromkeys([*names, "output_dir"], "default")
    for name, setting in settings.by_name.items():
        sources["output_dir" if name == "training.output_dir" else name] = setting.source
    return sources


def _values(settings: Settings, section: str) -> dict[str, Any]:
    return {key: copy.deepcopy(setting.value) for key, setting in settings.section(section)}
