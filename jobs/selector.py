"""resource.labelSelector → the plain labels a node must have (metav1.LabelSelectorAsMap)."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.workspace import LabelExpression, LabelSelector

# KAITO's controllers put these on their own nodes and ignore them in a user's selector, so that no
# Workspace can claim another's nodes (api/v1beta1/labels.go).
RESERVED = frozenset(
    {
        "kaito.sh/workspace",
        "kaito.sh/workspacenamespace",
        "kaito.sh/ragengine",
        "kaito.sh/ragenginenamespace",
        "karpenter.kaito.sh/workspace-name",
        "karpenter.kaito.sh/workspace-namespace",
        "karpenter.kaito.sh/inferenceset",
        "karpenter.kaito.sh/inferenceset-namespace",
    }
)
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def as_map(selector: LabelSelector) -> Mapping[str, str] | None:
    """Every label that is asked for; None when the selector says more than that."""
    if no_map(selector) is not None:
        return None
    single = {e.key: e.values[0] for e in selector.match_expressions}
    return {**selector.match_labels, **single}


def usable(selector: LabelSelector) -> Mapping[str, str]:
    """The matchLabels that count: without the reserved ones."""
    return {k: v for k, v in selector.match_labels.items() if k not in RESERVED}


def no_map(selector: LabelSelector) -> str | None:
    """Why the selector is no plain set of labels, in Kubernetes' words."""
    return next((why for e in selector.match_expressions if (why := _no_label(e))), None)


def _no_label(expression: LabelExpression) -> str | None:
    operator = expression.operator
    if operator not in _OPERATORS:
        return f'"{operator}" is not a valid selector operator'
    if operator == "In" and len(expression.values) == 1:
        return None
    without = " without a single value" if operator == "In" else ""
    return f'operator "{operator}"{without} cannot be converted into the old label selector format'
