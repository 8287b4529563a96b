"""Rules for the adapter's own settings: what PEFT refuses, what the fused head cannot train, and
what serving runtimes will not load.

Called by tuning/settings/rules.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from presets.problem import Problem
from tuning.settings.setting import Setting, Settings
from tuning.settings.values import said

HIGHEST_SERVED_RANK = 512
"""The highest --max-lora-rank of vLLM 0.32."""
ALL_LINEAR = "all-linear"
_NAME = re.compile(r"[A-Za-z0-9_.]+")
_LONGEST_PATTERN = 1000
_STARTS = (True, False, "gaussian")


def named_modules(settings: Settings) -> Settings:
    """`target_modules: q_proj, v_proj` as the list it means.

    PEFT takes a text for a regular expression of whole paths, where one bare name fits no layer.
    """
    changed = {}
    for key in ("target_modules", "exclude_modules"):
        setting = settings.by_name.get(f"lora.{key}")
        if setting is not None and isinstance(setting.value, str):
            parts = [part for part in re.split(r"[\s,]+", setting.value) if part]
            if setting.value == ALL_LINEAR or not all(_NAME.fullmatch(part) for part in parts):
                continue
            changed[f"lora.{key}"] = Setting(parts, setting.path, setting.source)
    return Settings(changed).over(settings)


def _targets(settings: Settings) -> Iterator[Problem]:
    targets = settings.get("lora.target_modules")
    for name in ("lora.target_modules", "lora.exclude_modules"):
        yield from _pattern(settings, name, settings.get(name))
        if settings.get(name) == []:
            yield settings.problem(name, "names no module", "remove it, or name one")
    head = targets if isinstance(targets, str) else ",".join(targets or ())
    if "lm_head" in head:
        do = "remove lm_head: its loss is computed from the base's own weight"
        what = "lm_head cannot have an adapter: it would never be trained"
        yield settings.problem("lora.target_modules", what, do)
    if not isinstance(targets, str):
        return
    for key in ("layers_to_transform", "layers_pattern"):
        if settings.get(f"lora.{key}") is not None:
            do = "list the modules in target_modules: [q_proj, v_proj]"
            what = f"works with a list of modules only, and target_modules is {said(targets)}"
            yield settings.problem(f"lora.{key}", what, do)


def _pattern(settings: Settings, name: str, value: Any) -> Iterator[Problem]:
    """PEFT compiles a text; one that does not compile ends the run after the model is loaded."""
    if not isinstance(value, str):
        return
    do = "write names in a list, or correct the regular expression"
    if len(value) > _LONGEST_PATTERN:
        yield settings.problem(name, f"{len(value)} characters are too many", do)
        return
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        yield settings.problem(name, f"{said(value)} is no regular expression: {error}", do)


def _layers(settings: Settings) -> Iterator[Problem]:
    layers = settings.get("lora.layers_to_transform")
    numbers = [layers] if isinstance(layers, int) else layers or []
    if layers == [] or any(number < 0 for number in numbers):
        what = f"{said(layers)} names no layer"
        yield settings.problem("lora.layers_to_transform", what, "count layers from 0")
    if settings.get("lora.layers_pattern") is not None and layers is None:
        what = "needs layers_to_transform beside it"
        yield settings.problem("lora.layers_pattern", what, "add it, or remove the pattern")


def _patterns(settings: Settings) -> Iterator[Problem]:
    for key, whole in (("rank_pattern", True), ("alpha_pattern", False)):
        name = f"lora.{key}"
        for module, value in settings.get(name, {}).items():
            yield from _pattern(settings, name, module)
            right = type(value) is int or (type(value) is float and not whole)
            if not right or value <= 0:
                do = f"write a {'whole ' if whole else ''}number above 0 for each module"
                yield settings.problem(name, f"{said(value)} for {said(module)}", do)


def _start(settings: Settings) -> Iterator[Problem]:
    start = settings.get("lora.init_lora_weights", True)
    if start not in _STARTS:
        what = f"{said(start)} needs a changed base model or the data before training"
        yield settings.problem("lora.init_lora_weights", what, 'write true or "gaussian"')


def _tokens(settings: Settings) -> Iterator[Problem]:
    name = "lora.trainable_token_indices"
    tokens = settings.get(name)
    lists = list(tokens.values()) if isinstance(tokens, dict) else [tokens or []]
    good = all(
        isinstance(ids, list) and all(type(i) is int and i >= 0 for i in ids) for ids in lists
    )
    if not good:
        what = f"{said(tokens)} is no list of token numbers"
        yield settings.problem(name, what, "write [1, 2] or {embed_tokens: [1, 2]}")


def _lora_bias(settings: Settings) -> Iterator[Problem]:
    if not settings.get("lora.lora_bias", False):
        return
    if settings.get("lora.use_dora", False):
        yield settings.problem("lora.lora_bias", "true together with use_dora", "keep one of them")
    if settings.get("lora.init_lora_weights", True) not in (True, False):
        do = "write init_lora_weights: true"
        yield settings.problem("lora.lora_bias", "true needs plain initial weights", do)


def _served(settings: Settings) -> Iterator[Problem]:
    """vLLM refuses these when the adapter is loaded (measured with 0.32)."""
    asked = {
        "lora.bias": settings.get("lora.bias", "none") != "none",
        "lora.lora_bias": settings.get("lora.lora_bias", False),
        "lora.modules_to_save": settings.get("lora.modules_to_save"),
        "lora.trainable_token_indices": settings.get("lora.trainable_token_indices"),
        "lora.use_dora": settings.get("lora.use_dora", False),
    }
    for name, is_asked in asked.items():
        if is_asked:
            what = f"{said(settings.get(name))}: vLLM does not load such an adapter"
            yield settings.warning(name, what, "serve it with transformers, or remove it")
    ranks = (settings.get("lora.r", 1), *settings.get("lora.rank_pattern", {}).values())
    highest = max(rank for rank in ranks if isinstance(rank, (int, float)))
    if highest > HIGHEST_SERVED_RANK:
        what = f"vLLM serves ranks up to {HIGHEST_SERVED_RANK}, and this is {highest}"
        yield settings.warning("lora.r", what, f"write {HIGHEST_SERVED_RANK} or less")


RULES: tuple[Callable[[Settings], Iterator[Problem]], ...] = (
    _targets,
    _layers,
    _patterns,
    _start,
    _tokens,
    _lora_bias,
    _served,
)
