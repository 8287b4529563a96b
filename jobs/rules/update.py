"""What may not change once a Workspace exists. Contents are checked by the rules of creation.

KAITO's validateUpdate of Workspace, ResourceSpec, TuningSpec and InferenceSpec.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.context import Context
from jobs.rules.general import CHECKED, unknown_annotations
from jobs.rules.resource import BYO_EMPTY, ONLY_LABELS, REQUIRED
from jobs.selector import as_map
from jobs.workspace import Inference, Resource, Tuning, Workspace
from presets.problem import Problem, shown

IMMUTABLE = "field is immutable"
_NEW = "write it as it was, or make a new Workspace"


def changed(old: Workspace, new: Workspace) -> bool:
    """Whether anything that a rule reads differs.

    Finalizers, the operator's own annotations and labels must stay writable on a Workspace that
    newer rules, or a ConfigMap deleted since, would refuse; else it could never be deleted.
    """
    return _read(old) != _read(new)


def _read(workspace: Workspace) -> tuple[object, ...]:
    """All of it that rules read."""
    values = [workspace.annotations.get(name) for name in CHECKED]
    parts = (workspace.resource, workspace.tuning, workspace.inference)
    return (*parts, values, unknown_annotations(workspace))


def update_problems(old: Workspace, new: Workspace, context: Context) -> Iterator[Problem]:
    """Every change that is not allowed."""
    if (old.inference is None) != (new.inference is None):
        what = "Inference field cannot be toggled once set"
        yield Problem("inference", what, _NEW, "generic")
    if (old.tuning is None) != (new.tuning is None):
        yield Problem("tuning", "Tuning field cannot be toggled once set", _NEW, "generic")
    yield from _resource(old.resource, new.resource, context)
    if old.tuning is not None and new.tuning is not None:
        yield from _tuning(old.tuning, new.tuning)
    if old.inference is not None and new.inference is not None:
        yield from _inference(old.inference, new.inference)


def _resource(old: Resource, new: Resource, context: Context) -> Iterator[Problem]:
    if new.count != old.count:
        do = f"it was {old.count}; {_NEW}"
        yield Problem("resource.count", IMMUTABLE, do, "generic")
    if new.partition != old.partition:
        yield Problem("resource.partition", IMMUTABLE, _NEW, "generic")
    if context.auto_provisioning:
        yield from _provisioned(old.instance_type, new.instance_type)
    else:
        yield from _own_nodes(old.instance_type, new.instance_type)
    before, after = as_map(old.label_selector), as_map(new.label_selector)
    path = "resource.labelSelector"
    if before is None or after is None:
        yield Problem(path, ONLY_LABELS, "use matchLabels", "generic")
    elif before != after:
        yield Problem(path, IMMUTABLE, _NEW, "generic")


def _provisioned(old: str | None, new: str | None) -> Iterator[Problem]:
    path = "resource.instanceType"
    if new is None:
        yield Problem(path, REQUIRED, _was(old), "missing sentence")
    elif old is not None and new != old:
        what = "instanceType cannot be changed once set when node auto-provisioning is enabled"
        yield Problem(path, what, _was(old), "generic")


def _own_nodes(old: str | None, new: str | None) -> Iterator[Problem]:
    path = "resource.instanceType"
    if new is None or new == old:
        return  # clearing it is how an older Workspace becomes a BYO one
    if old is None:
        yield Problem(path, BYO_EMPTY, "remove it")
    else:
        yield Problem(path, "instanceType cannot be changed once set", _was(old))


def _was(old: str | None) -> str:
    return f"it was {shown(old)}; {_NEW}" if old else "name the instance type"


def _tuning(old: Tuning, new: Tuning) -> Iterator[Problem]:
    if new.preset != old.preset:
        yield Problem("tuning.preset", "Preset cannot be changed", _NEW, "generic")
    if new.method.lower() != old.method.lower():
        do = f"it was {shown(old.method)}; {_NEW}"
        yield Problem("tuning.method", "Method cannot be changed", do, "generic")
    if old.input is not None and new.input is not None and new.input.name != old.input.name:
        what = "During tuning Name field cannot be changed once set"
        yield Problem("tuning.input.name", what, _NEW)


def _inference(old: Inference, new: Inference) -> Iterator[Problem]:
    if new.preset != old.preset:
        yield Problem("inference.preset", IMMUTABLE, _NEW, "generic")
    if (new.template is None) != (old.template is None):
        what = "field cannot be unset/set if it was set/unset"
        yield Problem("inference.template", what, _NEW, "generic")
