"""Writes tuning/settings/options.json: what TRL, PEFT and transformers know as options.

Run it after changing one of their versions: `python scripts/generate_options.py`. The rest of
Tunery reads the file, so that a webhook can judge a configuration without importing torch; a test
makes it again and compares.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import types
import typing
import warnings
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
import trl
from transformers import Trainer, optimization
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

TARGET = Path(__file__).resolve().parent.parent / "tuning" / "settings" / "options.json"

# BitsAndBytesConfig has no annotations; these defaults are None and say nothing of the type.
_UNTYPED = {
    "llm_int8_skip_modules": ["list[str]", "null"],
    "bnb_4bit_compute_dtype": ["str", "null"],
    "bnb_4bit_quant_storage": ["str", "null"],
}
_PLAIN = {bool: "bool", int: "int", float: "float", str: "str", types.NoneType: "null"}


def words(hint: Any) -> list[str]:
    """A type annotation in the few words that YAML has types for."""
    if hint in _PLAIN:
        return [_PLAIN[hint]]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return sorted({word for part in inner for word in words(part)})
    if origin is typing.Literal:
        return sorted({_PLAIN[type(value)] for value in inner})
    if origin is list:
        return [f"list[{'|'.join(words(inner[0]))}]"]
    if origin is tuple:
        return [f"list[{'|'.join(sorted({w for part in inner for w in words(part)}))}]"]
    if hint is dict or origin is dict:
        return ["dict"]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return ["str"]
    return ["list"] if hint is list else ["object"]


def choices(hint: Any, metadata: typing.Mapping[str, Any]) -> list[str]:
    """The texts that are allowed; empty when any is, or when text is not."""
    if "choices" in metadata:
        return list(metadata["choices"])
    found: list[str] = []
    for part in (hint, *typing.get_args(hint)):
        if typing.get_origin(part) is typing.Literal:
            found += [value for value in typing.get_args(part) if isinstance(value, str)]
        if isinstance(part, type) and issubclass(part, enum.Enum) and not _is_flag(part):
            found += [member.value for member in part]
    return list(dict.fromkeys(found))


def _is_flag(kind: type[enum.Enum]) -> bool:
    """DebugOption is combined with spaces, PeftType and TaskType are Tunery's to say."""
    return kind.__name__ in ("DebugOption", "PeftType", "TaskType")


def option(hint: Any, default: Any, metadata: typing.Mapping[str, Any]) -> dict[str, Any]:
    """One option: its types, its default when JSON can say it, its choices when there are any."""
    entry: dict[str, Any] = {"types": words(hint)}
    if isinstance(default, enum.Enum):
        default = default.value
    if default is None or isinstance(default, (bool, int, float, str)):
        entry["default"] = default
    allowed = choices(hint, metadata)
    return {**entry, "choices": allowed} if allowed else entry


def dataclass_options(kind: Any) -> dict[str, Any]:
    """Every field that the constructor takes, by name."""
    hints = typing.get_type_hints(kind)
    entries = {}
    for field in dataclasses.fields(kind):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = dataclasses.MISSING
        entries[field.name] = option(hints[field.name], default, field.metadata)
    return entries


def quantization_options() -> dict[str, Any]:
    """The constructor of BitsAndBytesConfig: types are those of the defaults."""
    entries = {}
    for parameter in inspect.signature(transformers.BitsAndBytesConfig).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        kinds = _UNTYPED.get(parameter.name) or [_PLAIN[type(parameter.default)]]
        entries[parameter.name] = {"types": kinds, "default": parameter.default}
    return entries


def schedulers() -> dict[str, Any]:
    """lr_scheduler_type → the names that its lr_scheduler_kwargs may and must have."""
    of_class = {
        "reduce_lr_on_plateau": torch.optim.lr_scheduler.ReduceLROnPlateau,
        "greedy": optimization.GreedyLR,
    }
    given = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}
    entries = {}
    for kind, function in optimization.TYPE_TO_SCHEDULER_FUNCTION.items():
        signature = inspect.signature(of_class.get(kind.value, function))
        known = [p for p in signature.parameters.values() if p.name not in given]
        entries[kind.value] = {
            "optional": [p.name for p in known if p.default is not p.empty],
            "required": [p.name for p in known if p.default is p.empty],
        }
    return entries


def absent_optimizers(names: list[str]) -> list[str]:
    """Those whose library is not installed beside the trainer."""
    absent = []
    for name in names:
        arguments = trl.SFTConfig(
            output_dir="unused",
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            optim=name,
        )
        try:
            Trainer.get_optimizer_cls_and_kwargs(arguments)
        except (ImportError, ValueError):
            absent.append(name)
    return absent


def generate() -> str:
    """The text of tuning/settings/options.json for the installed versions."""
    training = dataclass_options(trl.SFTConfig)
    training["report_to"]["choices"] = ["all", "none", *sorted(INTEGRATION_TO_CALLBACK)]
    sections = {
        "versions": {m.__name__: m.__version__ for m in (peft, transformers, trl)},
        "absent": {"optim": absent_optimizers(training["optim"]["choices"])},
        "schedulers": schedulers(),
        "lora": dataclass_options(peft.LoraConfig),
        "quantization": quantization_options(),
        "training": training,
    }
    return "{\n" + ",\n".join(_block(n, e) for n, e in sections.items()) + "\n}\n"


def _block(name: str, entries: dict[str, Any]) -> str:
    """One option a line, so that a change of version reads as a diff."""
    lines = [f"    {json.dumps(key)}: {json.dumps(entries[key])}" for key in sorted(entries)]
    return f"  {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n  }"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    TARGET.write_text(generate())
