"""What every Workspace must meet, whether it tunes or serves: its name, its kind, annotations."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.context import Context
from jobs.marks import FOLLOW, LIVE, RETRY, SHARE_WITH, SPEC, TOGETHER
from jobs.names import label_problem
from jobs.workspace import Workspace
from presets.problem import Problem, did_you_mean, shown

NEITHER = "Either Inference or Tuning must be specified, not neither"
BOTH = "Either Inference or Tuning must be specified, but not both"
PERFORMANCE_MODE = "kaito.sh/performance-mode"
LOCAL_WEIGHTS = "kaito.sh/use-local-weights"
IMAGE_FAMILY = "kaito.sh/node-image-family"
NODE_CLASS = "kaito.sh/node-class-name"
RUNTIME = "kaito.sh/runtime"
LOAD_BALANCER = "kaito.sh/enablelb"
BYPASS = "kaito.sh/bypass-resource-checks"
CHECKED = (
    *(PERFORMANCE_MODE, LOCAL_WEIGHTS, IMAGE_FAMILY, NODE_CLASS, RUNTIME, LOAD_BALANCER),
    TOGETHER,
    LIVE,
)
"""Annotations whose values a rule reads: a change of these is checked on update."""

_OWN, _KAITO = "tunery.sh/", "kaito.sh/"
_KNOWN = (*CHECKED, BYPASS, FOLLOW, RETRY, SHARE_WITH, SPEC)

_MODES = ("balanced", "interactivity", "throughput")
_FAMILIES = ("azurelinux", "ubuntu")
_RUNTIMES = ("vllm", "transformers")


def runtime(workspace: Workspace) -> str:
    """ "vllm", unless the annotation says "transformers"."""
    return "transformers" if workspace.annotations.get(RUNTIME) == "transformers" else "vllm"


def live(workspace: Workspace) -> bool:
    """Whether its adapters may change in the running server."""
    return workspace.annotations.get(LIVE) == "true" and runtime(workspace) == "vllm"


def unknown_annotations(workspace: Workspace) -> list[str]:
    """Those in our namespace that mean nothing."""
    return sorted(a for a in workspace.annotations if a.startswith(_OWN) and a not in _KNOWN)


def name_problems(workspace: Workspace) -> Iterator[Problem]:
    why = label_problem(workspace.name)
    if why is not None:
        do = f"it is {shown(workspace.name)}; write for example my-model"
        yield Problem("metadata.name", why, do)


def purpose_problems(workspace: Workspace) -> Iterator[Problem]:
    """A Workspace tunes or serves; KAITO reports this at `spec`, which no Workspace has."""
    if workspace.tuning is None and workspace.inference is None:
        yield Problem("", NEITHER, "add tuning or inference", "generic")
    if workspace.tuning is not None and workspace.inference is not None:
        yield Problem("", BOTH, "make two Workspaces of it", "generic")


def annotation_problems(workspace: Workspace, context: Context) -> Iterator[Problem]:
    """Values of annotations that KAITO checks, and two that it silently ignores when misspelled."""
    written = workspace.annotations
    mode, local = written.get(PERFORMANCE_MODE), written.get(LOCAL_WEIGHTS)
    if mode is not None and mode not in _MODES:
        what = f"{shown(mode)} is not a valid performance mode; choose one of: {', '.join(_MODES)}"
        yield _at(PERFORMANCE_MODE, what, did_you_mean(mode, _MODES))
    if local is not None and local not in ("true", "false"):
        yield _at(LOCAL_WEIGHTS, f'{shown(local)} must be "true" or "false"')
    family = written.get(IMAGE_FAMILY)
    if family is not None and family.strip().lower() not in _FAMILIES:
        supported = ", ".join(_FAMILIES)
        what = f"unsupported node image family {shown(family)}, supported values are {supported}"
        yield _at(IMAGE_FAMILY, what)
    yield from _node_class(written.get(NODE_CLASS), context)
    yield from _ignored(workspace)


def _node_class(name: str | None, context: Context) -> Iterator[Problem]:
    allowed = context.node_classes
    if name and allowed is not None and name not in allowed:
        listed = " ".join(allowed)
        what = f"{shown(name)} is not a KAITO-managed NodeClass, supported values are [{listed}]"
        yield _at(NODE_CLASS, what, did_you_mean(name, allowed))


def _ignored(workspace: Workspace) -> Iterator[Problem]:
    named = workspace.annotations.get(RUNTIME)
    if named is not None and named not in _RUNTIMES:
        what = f"{shown(named)} is no runtime, so vllm is used"
        yield _at(RUNTIME, what, "write vllm or transformers", warning=True)
    balanced = workspace.annotations.get(LOAD_BALANCER)
    if balanced is not None and balanced != "True" and balanced.lower() == "true":
        what = f"{shown(balanced)} is ignored: only the exact text True counts"
        yield _at(LOAD_BALANCER, what, 'write "True"', warning=True)
    yield from _misspelled(workspace)


def _misspelled(workspace: Workspace) -> Iterator[Problem]:
    """Of KAITO's, which has more than we know, only what looks like one that we do."""
    for name in unknown_annotations(workspace):
        known = [other.removeprefix(_OWN) for other in _KNOWN if other.startswith(_OWN)]
        close = did_you_mean(name.removeprefix(_OWN), known)
        what = "no such annotation, it is ignored"
        yield _at(name, what, close or "see docs/status.md", warning=True)
    for name in sorted(workspace.annotations):
        if name.startswith(_KAITO) and name not in _KNOWN:
            known = [other.removeprefix(_KAITO) for other in _KNOWN if other.startswith(_KAITO)]
            if close := did_you_mean(name.removeprefix(_KAITO), known):
                yield _at(name, "not known to Tunery, it is ignored", close, warning=True)


def _at(annotation: str, what: str, do: str = "", *, warning: bool = False) -> Problem:
    return Problem(f"metadata.annotations[{annotation}]", what, do, warning=warning)
