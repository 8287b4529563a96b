"""Nodes and pods that cost nothing, for benchmarks/operator.py: kwok plays the kubelets.

Everything else is real: API server, etcd, scheduler, Job controller, garbage collector. A pod runs
20 to 50 s, then ends with the last words of a pod that pushed. Pods have addresses of the loopback,
so one server can answer for all of them how far they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cluster import processes
from cluster.build import build, folder_of, program
from cluster.control import kubectl
from cluster.daemons import Daemon
from cluster.layout import Layout

Object = dict[str, Any]
SKU = "Standard_NC24ads_A100_v4"
APP = "bench"
_LAST_WORDS = {
    "phase": "push",
    "state": "done",
    "step": 100,
    "of": 100,
    "loss": 0.5,
    "image": "registry.example.com/bench/adapter:1",
    "digest": "sha256:" + "0" * 64,
    "size_bytes": 1000,
}


def start(layout: Layout, pid: int, nodes: int) -> None:
    """kwok, and so many nodes with plenty of GPUs, all of one label."""
    build(layout, ["kwok"])
    share = folder_of(layout, "kwok") / "share"
    stages = [*_given(share, "node-initialize", "node-heartbeat", "pod-delete"), _written(layout)]
    kwok = [
        program(layout, "kwok"),
        f"--kubeconfig={layout.kubeconfig}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--cidr=127.1.0.0/16",
        "--node-lease-duration-seconds=12",
        *(f"--config={stage}" for stage in stages),
    ]
    processes.start(layout, pid, Daemon("kwok-bench", kwok))
    items = {"apiVersion": "v1", "kind": "List", "items": [_node(n) for n in range(nodes)]}
    kubectl(layout, pid, "apply", "--server-side", "-f", "-", stdin=json.dumps(items))
    kubectl(layout, pid, "wait", "--for=condition=Ready", "node", "-l", f"app={APP}")


def stop(layout: Layout, pid: int) -> None:
    kubectl(layout, pid, "delete", "node", "-l", f"app={APP}", "--wait=false")
    processes.stop(layout, pid, "kwok-bench")


def _given(share: Path, *names: str) -> list[Path]:
    return [share / f"{name}.yaml" for name in names]


def _node(number: int) -> Object:
    name = f"bench-{number:02}"
    amounts = {"cpu": "10k", "memory": "100Ti", "pods": "1k", "nvidia.com/gpu": "1k"}
    labels = {
        "app": APP,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": SKU,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "status": {"allocatable": {**amounts, "ephemeral-storage": "1Pi"}, "capacity": amounts},
    }


def _written(layout: Layout) -> Path:
    """Our own stages: a pod starts after a second or two, and ends after 20 to 50."""
    path = layout.etc / "kwok-bench.yaml"
    path.write_text("---\n".join((_stage("ready", _READY), _stage("complete", _COMPLETE))))
    return path


def _stage(name: str, text: str) -> str:
    return text.replace("NAME", f"bench-{name}").replace("WORDS", json.dumps(_LAST_WORDS))


_READY = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: NAME}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: .metadata.deletionTimestamp, operator: DoesNotExist}
    - {key: .status.phase, operator: In, values: [Pending]}
  delay: {durationMilliseconds: 1000, jitterDurationMilliseconds: 2000}
  next:
    statusTemplate: |
      {{ $now := Now }}
      conditions:
      - {lastTransitionTime: {{ $now | Quote }}, status: "True", type: Initialized}
      - {lastTransitionTime: {{ $now | Quote }}, status: "True", type: Ready}
      - {lastTransitionTime: {{ $now | Quote }}, status: "True", type: ContainersReady}
      initContainerStatuses:
      {{ range .spec.initContainers }}
      - image: {{ .image | Quote }}
        name: {{ .name | Quote }}
        ready: true
        restartCount: 0
        state:
          terminated:
            exitCode: 0
            reason: Completed
            startedAt: {{ $now | Quote }}
            finishedAt: {{ $now | Quote }}
      {{ end }}
      containerStatuses:
      {{ range .spec.containers }}
      - image: {{ .image | Quote }}
        name: {{ .name | Quote }}
        ready: true
        restartCount: 0
        state: {running: {startedAt: {{ $now | Quote }}}}
      {{ end }}
      {{ $ips := PodIPsWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace }}
      podIP: {{ index $ips 0 | Quote }}
      podIPs: [{ip: {{ index $ips 0 | Quote }}}]
      phase: Running
      startTime: {{ $now | Quote }}
"""
_COMPLETE = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: NAME}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: .metadata.deletionTimestamp, operator: DoesNotExist}
    - {key: .status.phase, operator: In, values: [Running]}
    - {key: ".metadata.ownerReferences.[].kind", operator: In, values: [Job]}
  delay: {durationMilliseconds: 20000, jitterDurationMilliseconds: 50000}
  next:
    statusTemplate: |
      {{ $now := Now }}
      {{ $root := . }}
      containerStatuses:
      {{ range $index, $item := .spec.containers }}
      {{ $origin := index $root.status.containerStatuses $index }}
      - image: {{ $item.image | Quote }}
        name: {{ $item.name | Quote }}
        ready: false
        restartCount: 0
        state:
          terminated:
            exitCode: 0
            reason: Completed
            startedAt: {{ $origin.state.running.startedAt | Quote }}
            finishedAt: {{ $now | Quote }}
            message: 'WORDS'
      {{ end }}
      phase: Succeeded
"""
