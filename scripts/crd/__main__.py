"""Writes charts/tunery/files/crd.yaml, the CustomResourceDefinition of Workspace.

Run it after changing anything here: `python -m scripts.crd`. The chart installs the file as it is,
`kubectl apply -f` does as well, and a test makes it again and compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from scripts.crd import rules
from scripts.crd.fields import wanted
from scripts.crd.shape import Schema, part, text
from scripts.crd.status import seen

TARGET = Path(__file__).resolve().parents[2] / "charts" / "tunery" / "files" / "crd.yaml"
_HEADER = "# Made by `python -m scripts.crd`. The rules in it are those of jobs/rules/.\n"


def _condition(kind: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> Schema:
    column: Schema = {"name": name, "type": kind, "jsonPath": path}
    return {**column, "priority": 1} if wide else column


def _columns(beta: bool) -> list[Schema]:
    """KAITO's, in its order, then ours; the last ones only with -o wide."""
    conditions = ("ResourceReady", "InferenceReady", "JobStarted", "WorkspaceSucceeded")
    newer = [
        _column("TargetNodeCount", ".status.targetNodeCount", "integer"),
        _column("State", ".status.state"),
    ]
    return [
        _column("Instance", ".resource.instanceType"),
        *(_column(kind, _condition(kind)) for kind in conditions),
        *(newer if beta else []),
        _column("Age", ".metadata.creationTimestamp", "date"),
        _column("Progress", ".status.progress.percent", "integer"),
        _column("ETA", ".status.progress.eta"),
        _column("Loss", ".status.progress.loss"),
        _column("Output", ".status.output.digest", wide=True),
        _column("Revision", ".status.run.revision", "integer", wide=True),
        _column("Message", _condition("WorkspaceSucceeded", "message"), wide=True),
    ]


def _version(name: str) -> Schema:
    beta = name == "v1beta1"
    properties = {
        "apiVersion": text("kaito.sh/v1beta1 or kaito.sh/v1alpha1."),
        "kind": text("Workspace."),
        "metadata": {"type": "object"},
        **wanted(beta),
        "status": seen(),
    }
    description = "A request to fine-tune a model, or to serve one with its adapters."
    return {
        "name": name,
        "served": True,
        "storage": beta,
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(beta),
        "schema": {
            "openAPIV3Schema": part(description, properties, rules=rules.whole(beta)),
        },
    }


def definition() -> dict[str, Any]:
    """The object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "workspaces.kaito.sh",
            # Uninstalling must not delete every Workspace of the cluster.
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": "kaito.sh",
            "scope": "Namespaced",
            "names": {
                "kind": "Workspace",
                "listKind": "WorkspaceList",
                "plural": "workspaces",
                "singular": "workspace",
                "shortNames": ["wk", "wks"],
                "categories": ["workspace"],
            },
            "versions": [_version("v1alpha1"), _version("v1beta1")],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Without anchors: they would be legal, and hard to read."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def generate() -> str:
    """The file's text."""
    made = yaml.dump(definition(), Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    return _HEADER + made


if __name__ == "__main__":
    TARGET.write_text(generate(), "utf-8")
