"""Shapes that people write and that are not the contract, each with its exact correction.

Works on the plain body, before the models read it: a `spec:` wrapper, a training configuration
written inside the Workspace, another kind, fields of a newer version.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobs.plain import told
from presets.problem import Problem

GROUP = "kaito.sh"
V1ALPHA1, V1BETA1 = f"{GROUP}/v1alpha1", f"{GROUP}/v1beta1"
_PARTS = ("resource", "tuning", "inference")
_CONFIG_KEYS = {"tuning": "training_config.yaml", "inference": "inference_config.yaml"}
_CONFIG_WORDS = ("training_config", "trainingConfig", "TrainingArguments", "LoraConfig")
_NEWER = (
    ("resource", "partition"),
    ("tuning", "preset", "presetOptions", "modelAccessSecret"),
    ("inference", "preset", "presetOptions", "modelAccessSecret"),
)


def not_a_workspace(value: object) -> Problem | None:
    """Why the value cannot be read as a Workspace at all; the first reason hides the others."""
    if not isinstance(value, dict):
        do = "write apiVersion, kind, metadata and tuning or inference"
        return Problem("", f"a Workspace is a map of fields, not {told(value)}", do)
    version, kind = value.get("apiVersion"), value.get("kind")
    if kind != "Workspace":
        what = f"must be Workspace, not {told(kind)}"
        return Problem("kind", what, "write kind: Workspace")
    if version not in (V1ALPHA1, V1BETA1):
        what = f"must be {V1BETA1} or {V1ALPHA1}, not {told(version)}"
        return Problem("apiVersion", what, f"write apiVersion: {V1BETA1}")
    return _wrapped(value) if "spec" in value else None


def _wrapped(value: dict[str, Any]) -> Problem:
    spec = value["spec"]
    inside = [name for name in _PARTS if isinstance(spec, dict) and name in spec]
    if not inside:
        return Problem("spec", "a Workspace has no spec", "remove it", "generic")
    names = " and ".join(inside)
    do = f'delete the line "spec:" and move {names} out of it to the top level, beside metadata'
    return Problem("spec", f"a Workspace has no spec: {names} must not be inside it", do, "generic")


def take_inlined_configs(value: dict[str, Any]) -> list[Problem]:
    """Take out every configuration that is written where its ConfigMap's name belongs."""
    return [p for part, key in _CONFIG_KEYS.items() for p in _taken(value.get(part), part, key)]


def _taken(section: object, part: str, key: str) -> Iterator[Problem]:
    if not isinstance(section, dict):
        return
    if isinstance(section.get("config"), dict) or _looks_like_yaml(section.get("config")):
        del section["config"]
        yield _put_in_config_map(f"{part}.config", f"{part}.config", key)
    for word in _CONFIG_WORDS if part == "tuning" else ():
        if word in section:
            del section[word]
            yield _put_in_config_map(f"{part}.{word}", f"{part}.config", key)


def _looks_like_yaml(config: object) -> bool:
    return isinstance(config, str) and ("\n" in config.strip() or ": " in config)


def _put_in_config_map(path: str, config: str, key: str) -> Problem:
    what = "the configuration itself is written here, but a Workspace only names it"
    do = f"put it in a ConfigMap under the key {key} and write that ConfigMap's name at {config}"
    return Problem(path, what, do)


def only_in_v1beta1(value: dict[str, Any]) -> list[Problem]:
    """Fields that v1alpha1 silently drops."""
    do = f"write apiVersion: {V1BETA1}"
    what = f"exists only in {V1BETA1}"
    return [Problem(".".join(path), what, do) for path in _NEWER if _has(value, path)]


def _has(value: object, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True
