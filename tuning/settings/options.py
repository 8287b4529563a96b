"""What the trainer's libraries know as options: options.json, read into frozen values.

The file is made by scripts/generate_options.py from the installed TRL, PEFT and transformers, so
that admission can judge a configuration without importing them. Imports nothing of ours.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Option:
    """One keyword of a library's configuration class."""

    types: tuple[str, ...]
    """"bool", "int", "float", "str", "dict", "list", "list[str]", …, "object" (a library's own
    class), "null"."""
    default: Any = None
    """The library's, or None when JSON cannot say it."""
    choices: tuple[str, ...] = ()
    """The texts that are allowed; empty: any."""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """What one lr_scheduler_type takes as lr_scheduler_kwargs."""

    optional: tuple[str, ...]
    required: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of trl.SFTConfig, peft.LoraConfig and transformers.BitsAndBytesConfig."""

    versions: Mapping[str, str]
    training: Mapping[str, Option]
    lora: Mapping[str, Option]
    quantization: Mapping[str, Option]
    schedulers: Mapping[str, Scheduler]
    absent_optimizers: tuple[str, ...]
    """Choices of `optim` whose library is not installed beside the trainer."""


@functools.cache
def installed() -> Options:
    """The options of the versions that the data file was made from."""
    raw = json.loads(Path(__file__).with_name("options.json").read_text("utf-8"))
    return Options(
        versions=raw["versions"],
        training=_section(raw["training"]),
        lora=_section(raw["lora"]),
        quantization=_section(raw["quantization"]),
        schedulers={
            name: Scheduler(tuple(entry["optional"]), tuple(entry["required"]))
            for name, entry in raw["schedulers"].items()
        },
        absent_optimizers=tuple(raw["absent"]["optim"]),
    )


def _section(entries: Mapping[str, Any]) -> dict[str, Option]:
    return {
        name: Option(tuple(entry["types"]), entry.get("default"), tuple(entry.get("choices", ())))
        for name, entry in entries.items()
    }
