"""`resource`: instance type, node count, label selector, partition, when a Workspace is created.

KAITO's ResourceSpec.validateCreateWithTuning and …WithInference, and for tuning the check it lacks:
that the instance type is known and has cards that can train.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.context import Context
from jobs.refusal import no_cuda
from jobs.selector import RESERVED, no_map, usable
from jobs.workspace import V1ALPHA1, V1ALPHA1_INSTANCE_TYPE, Partition, Resource, Workspace
from presets.problem import Problem, did_you_mean

BYO_EMPTY = "instanceType must be empty when node auto-provisioning is disabled (BYO scenario)"
REQUIRED = "instanceType is required when node auto-provisioning is enabled"
ONE_NODE = (
    "Tuning does not currently support multinode configurations. Please set the node count to 1. "
    "Future support with DeepSpeed will allow this."
)
ONLY_LABELS = "Only allow matchLabels or 'IN' matchExpression"
_OWN_FILE = "or list it in an instances file of your own (docs/presets.md)"


def resource_problems(workspace: Workspace, context: Context) -> Iterator[Problem]:
    """The rules of a new Workspace's resource."""
    resource = workspace.resource
    yield from _given_or_not(workspace, context)
    yield from selector_problems(resource)
    if workspace.tuning is not None:
        yield from _tuning_problems(resource, context)
    if workspace.inference is not None:
        yield from _inference_problems(resource, context)


def _given_or_not(workspace: Workspace, context: Context) -> Iterator[Problem]:
    given = workspace.resource.instance_type
    if context.auto_provisioning and given is None:
        do = "name the instance type, for example Standard_NC24ads_A100_v4"
        yield Problem("resource.instanceType", REQUIRED, do, "missing sentence")
    if not context.auto_provisioning and given is not None:
        # v1alpha1's schema fills its default in: the user did not write it.
        if workspace.api_version == V1ALPHA1 and given == V1ALPHA1_INSTANCE_TYPE:
            return
        yield Problem("resource.instanceType", BYO_EMPTY, "remove it")


def selector_problems(resource: Resource) -> Iterator[Problem]:
    """A label selector that is more than labels, or claims the nodes of others."""
    selector, path = resource.label_selector, "resource.labelSelector"
    why = no_map(selector)
    if why is not None:
        yield Problem(path, why, "use matchLabels, or In with one value")
    if selector.match_labels and not usable(selector):
        what = "matchLabels must contain at least one non-reserved label"
        yield Problem(f"{path}.matchLabels", what, "add a label of your own, for example app: NAME")
    for key in selector.match_labels.keys() & RESERVED:
        what = "is a label that KAITO keeps for itself, so it is ignored"
        yield Problem(f"{path}.matchLabels[{key}]", what, "remove it", warning=True)


def _tuning_problems(resource: Resource, context: Context) -> Iterator[Problem]:
    if resource.count > 1:
        yield Problem("resource.count", ONE_NODE)
    if resource.partition is not None:
        what = "GPU partitioning is not supported for tuning workloads"
        yield Problem("resource.partition", what, "remove it")
    if context.auto_provisioning and resource.instance_type is not None:
        yield from _card_problems(resource.instance_type, context)


def _card_problems(instance_type: str, context: Context) -> Iterator[Problem]:
    gpu = context.catalog.gpu(instance_type)
    if gpu is None:
        yield _unsupported(instance_type, context)
    elif not gpu.cuda:
        yield no_cuda(gpu, context.catalog)


def _unsupported(instance_type: str, context: Context) -> Problem:
    close = did_you_mean(instance_type, (g.sku for g in context.catalog.gpus))
    return Problem(
        "resource.instanceType",
        f"Unsupported instance type {instance_type[:80]}",
        f"{close} {_OWN_FILE}" if close else f"choose a known one {_OWN_FILE}",
    )


def _inference_problems(resource: Resource, context: Context) -> Iterator[Problem]:
    name = resource.instance_type
    known = name is None or context.catalog.gpu(name) is not None or _azure_series(name)
    if context.auto_provisioning and name is not None and not known:
        yield _unsupported(name, context)
    if resource.partition is not None:
        yield from _partition_problems(resource.partition, context)


def _azure_series(name: str) -> bool:
    """Azure has more sizes than any list: KAITO lets its N and D series through."""
    return name.lower().startswith(("standard_n", "standard_d"))


def _partition_problems(partition: Partition, context: Context) -> Iterator[Problem]:
    path = "resource.partition"
    if context.auto_provisioning:
        what = (
            "GPU partitioning is only supported with BYO nodes (disableNodeAutoProvisioning=true)"
        )
        yield Problem(path, what, "remove it", "generic")
    if partition.mode == "mig" and partition.count is not None:
        what = "count is only valid for accelerator mode"
        yield Problem(f"{path}.count", what, "remove it")
    if partition.mode == "accelerator" and partition.profile is not None:
        what = "profile is not valid for accelerator mode"
        yield Problem(f"{path}.profile", what, "remove it")
    if partition.mode == "accelerator" and partition.count is None:
        yield Problem(f"{path}.count", "is missing", "say how many cards", "missing")
