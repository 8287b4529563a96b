"""A folder with a LoRA adapter → Adapter, or every reason why it is none.

First step of `prepare` for each adapter, before check.py compares it with the base. Reads only
adapter_config.json, adapter_model.safetensors and, where they are, training.json (who trained it)
and chat_template.jinja. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from presets.problem import Problem, shown
from serving import tensors
from serving.tensors import Tensor
from tuning.images.oci import CONFIG_FILE, WEIGHTS_FILE
from tuning.result import Record

TEMPLATE_FILE = "chat_template.jinja"
RECORD_FILE = "training.json"
_LONGEST_JSON_BYTES = 4 * 1024 * 1024
_KEY = re.compile(r"base_model\.model\.(?P<module>[A-Za-z0-9_.]+)\.(?P<part>lora_[AB])\.weight")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAMED = 3
"""So many of a long list are told."""


def _empty(value: object) -> object:
    return {} if value is None else value


Number = Annotated[float, Field(allow_inf_nan=False)]
Pattern = Annotated[Mapping[str, Number], BeforeValidator(_empty)]
Ranks = Annotated[Mapping[str, Annotated[int, Field(ge=1)]], BeforeValidator(_empty)]


class Config(BaseModel):
    """What decides an adapter's scale in adapter_config.json; everything else is in `raw`."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    r: Annotated[int, Field(ge=1)]
    lora_alpha: Number
    use_rslora: bool = False
    fan_in_fan_out: bool = False
    rank_pattern: Ranks = {}
    alpha_pattern: Pattern = {}


@dataclass(frozen=True, slots=True)
class Layer:
    """One adapted module: what is added to its output is B·A·scale."""

    a: Tensor
    """(rank, inputs)"""
    b: Tensor
    """(outputs, rank)"""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter whose files are whole."""

    name: str
    folder: Path
    config: Config
    raw: Mapping[str, Any]
    """adapter_config.json, as written."""
    layers: Mapping[str, Layer]
    """By the module's full name."""
    base: str
    """Hub id it was trained for; "" when it does not say (a path of the machine that trained)."""
    revision: str
    """Commit of the base; "" when it does not say."""
    template: str | None
    """The chat template it was trained with, where that is not the base's own."""
    digest: str
    """sha256 of configuration and weights: equal adapters have equal ones."""

    def rank_of(self, module: str) -> int:
        """The rank that the configuration promises for a module."""
        key = matching(self.config.rank_pattern, module)
        return self.config.rank_pattern[key] if key is not None else self.config.r

    def alpha_of(self, module: str) -> float:
        """The same for alpha."""
        key = matching(self.config.alpha_pattern, module)
        return self.config.alpha_pattern[key] if key is not None else self.config.lora_alpha

    @property
    def rank(self) -> int:
        """The largest of all modules: what a server must have room for."""
        return max((self.config.r, *self.config.rank_pattern.values()))


def matching(pattern: Mapping[str, object], module: str) -> str | None:
    """The key of a rank_pattern or alpha_pattern that means this module: PEFT takes the first
    that is its name or the end of it. Keys that are regular expressions never get here."""
    return next((k for k in pattern if module == k or module.endswith(f".{k}")), None)


def read(name: str, folder: Path) -> tuple[Adapter | None, tuple[Problem, ...]]:
    """The adapter in `folder`, or the reasons why it cannot be read. Never raises."""
    raw, problem = _config_file(folder)
    if problem is not None:
        return None, (about(name, *problem),)
    kind = raw.get("peft_type")
    if kind != "LORA":
        what = f"is of the kind {shown(kind)}, and the runtimes know LORA only"
        return None, (about(name, what, "train a LoRA adapter"),)
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        return None, tuple(_wrong_values(name, error))
    try:
        found = tensors.read(folder / WEIGHTS_FILE)
        digest = _digest(folder)
    except OSError as error:
        do = "save it as safetensors; files that can run code are never loaded"
        return None, (about(name, f"has no {WEIGHTS_FILE} ({error.strerror})", do),)
    except ValueError as error:
        return None, (about(name, f"{WEIGHTS_FILE} {error}", "copy or train it again"),)
    layers, problems = _layers(name, found)
    if problems:
        return None, problems
    base, revision = _origin(folder, raw)
    return (
        Adapter(
            name=name,
            folder=folder,
            config=config,
            raw=raw,
            layers=layers,
            base=base,
            revision=revision,
            template=_template(folder),
            digest=digest,
        ),
        (),
    )


def about(name: str, what: str, do: str, *, warning: bool = False) -> Problem:
    """A problem of the adapter of this name."""
    return Problem(f"adapter {name}", what, do, "generic", warning)


def some(names: list[str]) -> str:
    """The first few of a long list."""
    rest = len(names) - _NAMED
    told = ", ".join(n[:120] for n in names[:_NAMED])
    return f"{told} and {rest} more" if rest > 0 else told


def _config_file(folder: Path) -> tuple[dict[str, Any], tuple[str, str] | None]:
    path = folder / CONFIG_FILE
    try:
        if path.stat().st_size > _LONGEST_JSON_BYTES:
            return {}, (f"{CONFIG_FILE} is larger than 4 MiB", "save the adapter again")
        found = json.loads(path.read_bytes())
    except OSError as error:
        what = f"there is no {CONFIG_FILE} ({error.strerror})"
        return {}, (what, "name an image or a folder that holds an adapter")
    except (ValueError, RecursionError):
        return {}, (f"{CONFIG_FILE} is not JSON", "save the adapter again")
    if not isinstance(found, dict):
        return {}, (f"{CONFIG_FILE} is not a JSON object", "save the adapter again")
    return found, None


def _wrong_values(name: str, error: ValidationError) -> list[Problem]:
    found = []
    for one in error.errors():
        key = ".".join(str(part) for part in one["loc"])[:80]
        what = f"{CONFIG_FILE}: {key}: {one['msg']}"
        found.append(about(name, what, "save the adapter again"))
    return found


def _layers(
    name: str, found: Mapping[str, Tensor]
) -> tuple[Mapping[str, Layer], tuple[Problem, ...]]:
    """Tensors in pairs, by module."""
    halves: dict[str, dict[str, Tensor]] = {}
    strangers = []
    for key, tensor in found.items():
        match = _KEY.fullmatch(key)
        if match is None:
            strangers.append(key)
        else:
            halves.setdefault(match["module"], {})[match["part"]] = tensor
    problems = []
    if strangers:
        what = f"has tensors that are no part of a plain LoRA: {some(sorted(strangers))}"
        do = "train without DoRA, bias, modules_to_save and embeddings, and save with PEFT"
        problems.append(about(name, what, do))
    single = sorted(module for module, parts in halves.items() if len(parts) < 2)
    if single:
        what = f"has only one of lora_A and lora_B for {some(single)}"
        problems.append(about(name, what, "save the adapter again"))
    if not found:
        problems.append(about(name, "has no tensors", "save the adapter again"))
    if problems:
        return {}, tuple(problems)
    return {m: Layer(p["lora_A"], p["lora_B"]) for m, p in sorted(halves.items())}, ()


def _origin(folder: Path, raw: Mapping[str, Any]) -> tuple[str, str]:
    """Base id and commit, as far as they are public facts and not paths of a machine."""
    base, revision = raw.get("base_model_name_or_path"), raw.get("revision")
    try:
        record = Record.model_validate_json((folder / RECORD_FILE).read_bytes())
        base, revision = record.base_model, record.revision
    except (OSError, ValidationError):
        pass  # not one of ours: then PEFT's own words count
    known = isinstance(base, str) and _HUB_ID.fullmatch(base) is not None
    commit = isinstance(revision, str) and _COMMIT.fullmatch(revision) is not None
    return (str(base) if known else "", str(revision) if known and commit else "")


def _template(folder: Path) -> str | None:
    try:
        return (folder / TEMPLATE_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        with (folder / file).open("rb") as opened:
            whole.update(hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()
