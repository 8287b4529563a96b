"""The chart on our machine with the operator of the working tree, as a release of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rig.chart import CHART, Object, settings
from rig.kube import RESTRICTED, Kube, Machine

from cluster import recipes

IMAGE = {
    "image.repository": "localhost/tunery/operator",
    "image.tag": "dev",
    "image.pullPolicy": "Never",
}


@dataclass(frozen=True)
class Release:
    """`kube` is kubectl in its namespace, which has the release's name."""

    machine: Machine
    kube: Kube

    @property
    def name(self) -> str:
        return self.kube.namespace

    def build(self) -> None:
        """Bring the operator of the working tree to the node."""
        self.machine.image(recipes.operator)

    def install(self, values: Object | None = None) -> None:
        """Install, or upgrade, and wait until it is ready."""
        namespace = {"apiVersion": "v1", "kind": "Namespace"}
        self.kube.apply({**namespace, "metadata": {"name": self.name, "labels": RESTRICTED}})
        done = self.machine.helm(
            *("upgrade", "--install", self.name, str(CHART), f"--namespace={self.name}"),
            # A CRD that another suite's release has left is ours now.
            *("--take-ownership", "--wait", "--timeout=90s"),
            *settings({**IMAGE, **(values or {})}),
            check=False,
        )
        assert done.returncode == 0, (done.stderr, self.log())

    def uninstall(self) -> str:
        """What helm says about what it keeps."""
        return self.machine.helm(
            "uninstall", self.name, f"--namespace={self.name}", "--wait"
        ).stdout

    def remove(self) -> None:
        """Without a trace; helm does not remove a release twice."""
        self.machine.helm("uninstall", self.name, f"--namespace={self.name}", check=False)
        self.kube("delete", "namespace", self.name, "--wait=false")

    def log(self) -> str:
        done = self.kube.attempt("logs", f"deployment/{self.name}", "--tail=100", "--all-pods")
        return done.stdout + done.stderr

    def pods(self) -> list[dict[str, Any]]:
        """Those that are not going away."""
        found: list[dict[str, Any]] = json.loads(self.kube("get", "pods", "-o", "json"))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def scale(self, replicas: int) -> None:
        """As `kubectl scale`; returns when as many are ready, or all are gone."""
        self.kube("scale", f"deployment/{self.name}", f"--replicas={replicas}")
        if replicas:
            self.kube("rollout", "status", f"deployment/{self.name}", "--timeout=60s")
        else:
            self.kube("wait", "pod", "--all", "--for=delete", "--timeout=60s")
