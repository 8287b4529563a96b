"""Workspaces as people write them, changed one field at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from presets.problem import Problem

ABSENT = object()
"""The value that takes a field out."""

_TUNING = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "Workspace",
    "metadata": {"name": "tune-phi-3"},
    "resource": {
        "instanceType": "Standard_NC24ads_A100_v4",
        "labelSelector": {"matchLabels": {"app": "tune-phi-3"}},
    },
    "tuning": {
        "preset": {"name": "phi-3-mini-128k-instruct"},
        "method": "qlora",
        "input": {"urls": ["https://data.invalid/train.parquet"]},
        "output": {"image": "registry.invalid/adapters/phi-3:1", "imagePushSecret": "push"},
    },
}
_INFERENCE = {
    **{k: v for k, v in _TUNING.items() if k != "tuning"},
    "metadata": {"name": "serve-phi-3"},
    "inference": {
        "preset": {"name": "phi-3-mini-128k-instruct"},
        "adapters": [{"source": {"name": "support", "image": "registry.invalid/adapters/phi-3:1"}}],
    },
}

Changes = dict[str, Any]
Judge = Callable[..., tuple[Problem, ...]]
"""The fixtures `create(body, **context)` and `update(old, new, **context)`."""


def tuning(changes: Changes | None = None) -> dict[str, Any]:
    """A tuning Workspace that is right, with `{"tuning.input.urls": …}` written over it."""
    return changed(_TUNING, changes or {})


def inference(changes: Changes | None = None) -> dict[str, Any]:
    """An inference Workspace with one adapter, likewise."""
    return changed(_INFERENCE, changes or {})


def changed(body: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """A deep copy with values set or taken out by dotted path."""
    result = copy.deepcopy(body)
    for path, value in changes.items():
        *above, last = path.split(".")
        holder = result
        for key in above:
            holder = holder.setdefault(key, {})
        if value is ABSENT:
            holder.pop(last, None)
        else:
            holder[last] = value
    return result
