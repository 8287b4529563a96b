"""Names that Tunery gives: labels, annotations, objects. jobs/slim.py reads them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WORKSPACE = "kaito.sh/workspace"
WORKSPACE_NAMESPACE = "kaito.sh/workspacenamespace"
ADAPTERS = "tunery.sh/adapters"
"""Annotation of a serving pod with live adapters: which set it was told of last."""
PULL_SECRETS = "tunery.sh/pull-secrets"
"""Annotation of a StatefulSet with live adapters: the Secrets that its pods have."""
SURGE = "tunery.sh/surge"
"""Annotation of a StatefulSet: "true" while it has one pod more than it should."""
RUN = "tunery.sh/run"
HASH = "workspace.kaito.io/hash"
REVISION = "workspace.kaito.io/revision"
DIGEST = "tunery.sh/digest"
SHARE_WITH = "tunery.sh/share-with"
"""Annotation of a tuning Workspace: namespaces (or *) whose Workspaces may serve its adapter."""
API_VERSION = "kaito.sh/v1beta1"
REVISION_OWNER = "workspace.kaito.io/name"
"""Label of ControllerRevisions: the Workspace's name."""
RETRY = "tunery.sh/retry"
"""Annotation of a Workspace: any new value runs a finished run again."""
SPEC = "tunery.sh/spec"
"""Annotation of a Workspace: what its run was made of, without the ConfigMap's content."""
TOGETHER = "tunery.sh/together"
"""Annotation of an inference Workspace: all its adapters are also served as one of this name."""
FOLLOW = "tunery.sh/follow"
"""Annotation of an inference Workspace: "true" serves what its tuning Workspaces make anew."""
LIVE = "tunery.sh/live-adapters"
"""Annotation of an inference Workspace: "true" changes adapters in the running server (vLLM)."""
METRICS_PORT = 5000
RUN_KEY = "run.json"


def short(run_hash: str) -> str:
    """The hash as it stands in names and labels."""
    return run_hash[:10]


def labels(name: str, namespace: str, run_hash: str) -> dict[str, str]:
    """Of everything that belongs to one run."""
    return {WORKSPACE: name, WORKSPACE_NAMESPACE: namespace, RUN: short(run_hash)}


def snapshot(name: str, run_hash: str) -> str:
    """Name of the ConfigMap that holds a run's run.json."""
    return f"{name}-{short(run_hash)}"


def headless(name: str) -> str:
    """Name of the Service that gives each serving pod a name."""
    return f"{name}-headless"


def workspace_of(service: str) -> str:
    """Whose headless Service a name would be."""
    return service.removesuffix("-headless")


@dataclass(frozen=True, slots=True)
class Owner:
    """The Workspace that everything belongs to: what it owns goes when it goes."""

    namespace: str
    name: str
    uid: str
    """Empty: a file that is only rendered, whose objects have no owner yet."""

    def references(self) -> dict[str, Any]:
        """`ownerReferences`, as a part of an object's metadata."""
        if not self.uid:
            return {}
        reference = {
            "apiVersion": API_VERSION,
            "kind": "Workspace",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        return {"ownerReferences": [reference]}
