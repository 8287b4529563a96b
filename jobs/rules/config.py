"""The ConfigMap that `tuning.config` names → the training configuration, or why there is none.

KAITO's validateConfigMap. Its sentences are kept; its wrapper `Failed to evaluate
validateConfigMap: …` is not, because the path says it. The text itself is read by tuning/config.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobs.context import Context
from jobs.names import subdomain_problem
from jobs.workspace import Workspace
from presets.problem import Problem, did_you_mean, shown
from tuning.config import CONFIG_KEY, Method, TrainingConfig, parse

Problems = tuple[Problem, ...]


def prefix(name: str | None) -> str:
    """Where problems of the configuration are, as a path."""
    return f"tuning.config (ConfigMap {name})" if name else "tuning.config (default)"


def method_of(written: str) -> Method | None:
    """The method, letter case aside; None when it is none."""
    lower = written.lower()
    return "lora" if lower == "lora" else "qlora" if lower == "qlora" else None


def training_config(
    workspace: Workspace, context: Context
) -> tuple[TrainingConfig | None, Problems]:
    """What the Workspace will be trained with; None when that is wrong or cannot be known here."""
    tuning = workspace.tuning
    method = method_of(tuning.method) if tuning else None
    if tuning is None:
        return None, ()
    if tuning.config is None:
        return _parsed(None, None, method)
    text, problems = config_map_text(
        "tuning.config", tuning.config, CONFIG_KEY, workspace.namespace, context
    )
    if text is None:
        return None, problems
    return _parsed(text, tuning.config, method)


def _parsed(
    text: str | None, name: str | None, method: Method | None
) -> tuple[TrainingConfig | None, Problems]:
    if method is None:
        return None, ()  # the method's own problem is enough
    config, problems = parse(text, method)
    return config, tuple(p.under(prefix(name)) for p in problems)


def config_map_text(
    path: str, name: str, key: str, namespace: str, context: Context
) -> tuple[str | None, Problems]:
    """The text under `key` of a ConfigMap that the field `path` names, or what is wrong with it."""
    why = subdomain_problem(name)
    if why is not None:
        return None, (Problem(path, f"{shown(name)} is no name of a ConfigMap: {why}"),)
    if context.config_maps is None:
        what = f"ConfigMap '{name}' was not looked up in namespace '{namespace}'"
        do = "give its file too, to have it checked"
        return None, (Problem(path, what, do, "generic", warning=True),)
    data = context.config_maps.get((namespace, name))
    if data is None:
        return None, (_not_found(path, name, namespace, context),)
    if key not in data:
        return None, (_no_key(path, name, key, data),)
    return data[key], ()


def _not_found(path: str, name: str, namespace: str, context: Context) -> Problem:
    what = f"ConfigMap '{name}' specified in 'config' not found in namespace '{namespace}'"
    known = context.config_maps or {}
    elsewhere = next((space for space, other in known if other == name), None)
    close = did_you_mean(name, (other for space, other in known if space == namespace))
    create = "create it before the Workspace (in one file: above it)"
    if path.startswith("tuning"):
        create += f", with the key {CONFIG_KEY}"
    moved = f"it is in namespace '{elsewhere}': a Workspace reads only its own"
    return Problem(path, what, moved if elsewhere else close or create, "generic")


def _no_key(path: str, name: str, key: str, data: Mapping[str, str]) -> Problem:
    do = did_you_mean(key, data).replace("did you mean", "rename the key")
    return Problem(
        path,
        f"{key} in ConfigMap",
        do.removesuffix("?") or f"add the key {key} to ConfigMap '{name}'",
        "missing sentence",
    )
