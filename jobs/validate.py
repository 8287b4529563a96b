"""Every rule a Workspace must meet, all problems at once. Called by webhook, reconcile and CLI.

The rules are KAITO's (api/v1beta1/workspace_validation.go), on create and on update, in its
sentences, and those that KAITO lacks. Each lives in a `rules_*.py`; here is only their order.

Paths are the user's own spelling (`tuning.method`), in `Problem.kaito()` too: KAITO prints names of
Go fields there (`tuning.Method`), which nobody can look up in a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobs.context import Context
from jobs.placeholders import placeholder_problems
from jobs.rules.adapters import adapters_problems
from jobs.rules.general import annotation_problems, name_problems, purpose_problems
from jobs.rules.inference import inference_problems
from jobs.rules.resource import resource_problems
from jobs.rules.tuning import tuning_problems
from jobs.rules.update import changed, update_problems
from jobs.workspace import Workspace
from presets.problem import Problem

__all__ = ["Context", "validate_create", "validate_update"]


def validate_create(workspace: Workspace, context: Context) -> tuple[Problem, ...]:
    """What is wrong with a Workspace that is new, or that is looked at without its past."""
    found = (
        *name_problems(workspace),
        *purpose_problems(workspace),
        *resource_problems(workspace, context),
        *_content_problems(workspace, context),
    )
    return _together(found, tuple(placeholder_problems(workspace)))


def validate_update(old: Workspace, new: Workspace, context: Context) -> tuple[Problem, ...]:
    """What is wrong with changing `old` into `new`; nothing when no rule reads what changed."""
    if not changed(old, new):
        return ()
    found = (
        *name_problems(new),
        *update_problems(old, new, context),
        *_content_problems(new, context),
    )
    return _together(found, tuple(placeholder_problems(new)))


def _content_problems(workspace: Workspace, context: Context) -> Iterator[Problem]:
    """The rules that hold at any time: whatever is immutable is judged once, when it is set."""
    yield from annotation_problems(workspace, context)
    yield from tuning_problems(workspace, context)
    yield from inference_problems(workspace, context)
    yield from adapters_problems(workspace, context)


def _together(found: Iterable[Problem], placeholders: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Each problem once. A placeholder explains whatever else is wrong with the same value."""
    explained = {p.path for p in placeholders}
    rest = (p for p in found if p.path not in explained)
    return tuple(dict.fromkeys((*placeholders, *rest)))
