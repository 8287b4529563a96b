"""Names of layers that a model has fused into one: on Phi-3 `q_proj` is a part of `qkv_proj`.

KAITO's own example for Phi-3 names the parts, and PEFT silently skips what a model does not have:
three quarters of its adapter were never there. Used by the rules and by jobs/resolve.py alike.
"""

from __future__ import annotations

from presets import Architecture
from presets.problem import Problem
from tuning.config import TrainingConfig

_PATH = "training_config.LoraConfig.target_modules"
_PARTS = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "query_key_value": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
}


def as_the_model_names(
    config: TrainingConfig, architecture: Architecture
) -> tuple[TrainingConfig, tuple[Problem, ...]]:
    """The configuration with parts replaced by the layer that holds them, and a warning for each.

    A pattern or "all-linear" is left as it is.
    """
    targets = config.lora.get("target_modules")
    if not isinstance(targets, list | tuple):
        return config, ()
    wholes = _wholes(architecture)
    renamed = [_renamed(str(target), wholes) for target in targets]
    if renamed == list(targets):
        return config, ()
    fitted = config.with_values("lora", {"target_modules": list(dict.fromkeys(renamed))}, "preset")
    used = [wholes[last] for target in targets if (last := _last(str(target))) in wholes]
    warnings = tuple(_warning(whole, architecture) for whole in dict.fromkeys(used))
    return fitted, warnings


def _wholes(architecture: Architecture) -> dict[str, str]:
    """Part → the layer of this model that holds it, for parts that are no layers themselves."""
    layers = architecture.linear_modules()
    return {
        part: whole
        for whole, parts in _PARTS.items()
        if whole in layers
        for part in parts
        if part not in layers
    }


def _renamed(target: str, wholes: dict[str, str]) -> str:
    last = _last(target)
    return target.removesuffix(last) + wholes.get(last, last)


def _last(target: str) -> str:
    return target.rsplit(".", 1)[-1]


def _warning(whole: str, architecture: Architecture) -> Problem:
    parts = ", ".join(_PARTS[whole])
    what = f"{parts} are one layer of {architecture.model_type}, {whole}: that gets the adapter"
    return Problem(_PATH, what, f"write {whole}, or leave target_modules out", warning=True)
