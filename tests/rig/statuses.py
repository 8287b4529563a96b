"""Recorded pod and Job statuses (tests/jobs/statuses/*.yaml) as raw objects and as Facts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from jobs import marks, slim
from jobs.seen import Node, Note, Progress, Seen
from jobs.status import Facts, NodesVerdict, WantedRun
from jobs.workspace import Workspace, parse

FOLDER = Path(__file__).resolve().parent.parent / "jobs" / "statuses"
HASH = "a" * 64
NOW = "2026-11-27T10:10:00Z"
RUN = WantedRun(1, HASH, f"w-{HASH[:10]}", "org/base", "main", "registry.example/team/adapter:1")
TUNER = "registry.example/tunery/tuner:9"
READY = NodesVerdict(True, "NodesReady", "Enough Nodes are ready", ("node1",))

Case = Mapping[str, Any]


def cases(name: str) -> list[Case]:
    found: list[Case] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return found


def workspace() -> Workspace:
    body = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w", "namespace": "default"},
        "resource": {"labelSelector": {"matchLabels": {"apps": "tuning"}}},
        "tuning": {
            "method": "lora",
            "preset": {
                "name": "phi-4-mini-instruct",
                "presetOptions": {
                    "image": "registry.example/weights/phi:1",
                    "modelAccessSecret": "hub",
                },
            },
            "input": {
                "image": "registry.example/data/facts:1",
                "imagePullSecrets": ["data-login"],
            },
            "output": {"image": RUN.output_image, "imagePushSecret": "push-login"},
        },
    }
    found, problems = parse(body)
    assert found is not None and problems == ()
    return found


def pod(number: int, said: Mapping[str, Any], volume: str = "") -> dict[str, Any]:
    """A raw pod; `said` is its status, with `metadata` and `spec` where they matter."""
    rest = {k: v for k, v in said.items() if k not in ("metadata", "spec")}
    created = f"2026-11-27T10:{number * 5 - 5:02}:00Z"
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": created}
    said_so = any(c["type"] == "PodScheduled" for c in rest.get("conditions", ()))
    rest["conditions"] = [*(() if said_so else (scheduled,)), *rest.get("conditions", ())]
    volumes = [{"name": "image", "image": {"reference": volume}}] if volume else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"w-{number}",
            "uid": f"pod-{number}",
            "creationTimestamp": created,
            "labels": {marks.RUN: RUN.short, marks.WORKSPACE: "w"},
            **said.get("metadata", {}),
        },
        "spec": {
            "nodeName": "node1",
            "initContainers": [{"name": "prepare", "image": TUNER}],
            "containers": [{"name": "w", "image": TUNER}],
            "volumes": volumes,
            **said.get("spec", {}),
        },
        "status": rest,
    }


def job(status: Mapping[str, Any], *, suspend: bool = False) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "w",
            "uid": "job-1",
            "labels": {marks.RUN: RUN.short, marks.WORKSPACE: "w"},
            "ownerReferences": [{"kind": "Workspace", "uid": "workspace-1", "controller": True}],
        },
        "spec": {
            "suspend": suspend,
            "template": {"metadata": {"labels": {marks.RUN: RUN.short}}},
        },
        "status": status,
    }


def event(said: Mapping[str, Any]) -> dict[str, Any]:
    uid = {"pod": "pod-1", "job": "job-1"}.get(said["about"], said["about"])
    about = {"involvedObject": {"uid": uid}}
    at = {"lastTimestamp": said["at"]} if "at" in said else {}
    return {**about, "reason": said["reason"], "message": said["message"], **at}


def facts(
    job_status: Mapping[str, Any] | None,
    pods: list[Mapping[str, Any]],
    *,
    suspend: bool = False,
    notes: list[Mapping[str, Any]] | None = None,
    nodes: Mapping[str, bool] | None = None,
    volume: str = "",
    progress: Progress | None = None,
    **more: Any,
) -> Facts:
    """Everything that is seen, by way of jobs/slim.py, in the frame of one Workspace."""
    ready = nodes or {"node1": True}
    seen = Seen(
        job=None if job_status is None else slim.job(job(job_status, suspend=suspend)),
        pods=tuple(slim.pod(pod(n, said, volume)) for n, said in enumerate(pods, 1)),
        nodes=tuple(Node(name, ok, {}, 1) for name, ok in ready.items()),
        notes=tuple(_note(said) for said in notes or ()),
        progress=progress,
    )
    frame: dict[str, Any] = {
        "name": "w",
        "uid": "workspace-1",
        "generation": 1,
        "kind": "tuning",
        "nodes": READY,
        "workspace": workspace(),
        "run": RUN,
        "gpus_per_pod": 1,
        "card_gib": 18.25,
        "memory_gib": 24,
    }
    return Facts(seen=seen, **{**frame, **more})


def _note(said: Mapping[str, Any]) -> Note:
    return slim.note(event(said))


def facts_of(group: str, case: Case) -> Facts:
    """The facts of one recorded case; each file leaves out what all its cases share."""
    starting = {"active": 1, "ready": 0, "terminating": 0}
    if group == "ends":
        suspend, nodes = case.get("suspend", False), case.get("nodes")
        return facts(case["job"], case["pods"], suspend=suspend, nodes=nodes)
    if group == "kaito":
        return facts(case["job"], [])
    if group == "creation":
        note = {"about": "job", "reason": "FailedCreate", "message": case["message"]}
        return facts({"ready": 0, "terminating": 0}, [], notes=[note])
    if group == "scheduling":
        said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", **case}
        return facts(
            starting, [{"phase": "Pending", "spec": {"nodeName": ""}, "conditions": [said]}]
        )
    state = case.get("main") or {"waiting": case["waiting"]}
    phase = "Running" if "main" in case else "Pending"
    waits = {"phase": phase, "containerStatuses": [{"name": "w", "state": state}]}
    return facts(starting, [waits], volume=case.get("volume", ""), notes=case.get("notes"))
