"""Each fault does what it says, and the cluster is whole again after it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rig.kube import Kube, Machine, Object, pod

from cluster import control, faults, gpus
from cluster.addresses import NODE

GPU = {"resources": {"limits": {"nvidia.com/gpu": "1", "memory": "64Mi", "cpu": "100m"}}}
STUBBORN = "trap 'exit 75' TERM; while true; do sleep 0.1; done"


def terminated(namespace: Kube, name: str) -> Object:
    namespace.wait(f"pod/{name}", "jsonpath={.status.phase}=Failed")
    status: Object = namespace.get("pod", name)["status"]
    found: Object = status["containerStatuses"][0]["state"]["terminated"]
    return found


def test_a_killed_process_is_137_and_not_called_out_of_memory(
    namespace: Kube, machine: Machine
) -> None:
    namespace.apply(pod("victim"))
    namespace.wait("pod/victim", "condition=Ready")
    container = namespace.get("pod", "victim")["status"]["containerStatuses"][0]["containerID"]
    faults.kill_container(machine.layout, machine.pid, container)
    end = terminated(namespace, "victim")
    assert (end["exitCode"], end["reason"]) == (137, "Error")


def test_a_container_over_its_memory_limit_is_told_by_reason(namespace: Kube) -> None:
    limits = {"limits": {"cpu": "1", "memory": "32Mi"}}
    greedy = ("sh", "-c", "head -c 200000000 /dev/zero | tail")
    namespace.apply(pod("hungry", *greedy, container={"resources": limits}))
    end = terminated(namespace, "hungry")
    assert end["reason"] == "OOMKilled"


def test_eviction_leaves_a_disruption_target_and_the_exit_code(
    namespace: Kube, machine: Machine
) -> None:
    # A finalizer keeps the pod for reading; without one it is gone within a second or two.
    victim = pod("victim", "sh", "-c", STUBBORN)
    victim["metadata"]["finalizers"] = ["tunery.test/keep"]
    namespace.apply(victim)
    namespace.wait("pod/victim", "condition=Ready")
    faults.evict(machine.layout, machine.pid, namespace.namespace, "victim")
    end = terminated(namespace, "victim")
    status = namespace.get("pod", "victim")["status"]
    reasons = {c["type"]: c.get("reason") for c in status["conditions"]}
    namespace("patch", "pod", "victim", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert reasons["DisruptionTarget"] == "EvictionByEvictionAPI"
    assert end["exitCode"] == 75


@pytest.mark.alone
def test_a_drained_node_takes_no_pod_until_afterwards(namespace: Kube, machine: Machine) -> None:
    namespace.apply(pod("before"))
    namespace.wait("pod/before", "condition=Ready")
    with faults.drained(machine.layout, machine.pid):
        assert namespace.attempt("get", "pod", "before").returncode != 0
        namespace.apply(pod("after"))
        namespace.wait("pod/after", "condition=PodScheduled=False")
    namespace.wait("pod/after", "condition=Ready")


@pytest.mark.alone
def test_a_silent_kubelet_makes_the_node_unknown_and_then_ready_again(
    namespace: Kube, machine: Machine
) -> None:
    with faults.without_kubelet(machine.layout, machine.pid):
        namespace.wait(f"node/{NODE}", "condition=Ready=Unknown")
    namespace.wait(f"node/{NODE}", "condition=Ready=True")
    namespace.apply(pod("after", "true"))
    namespace.wait("pod/after", "jsonpath={.status.phase}=Succeeded")


@pytest.mark.alone
def test_the_api_server_comes_back_with_everything(namespace: Kube, machine: Machine) -> None:
    namespace("create", "configmap", "kept", "--from-literal=a=b")
    faults.restart_api_server(machine.layout, machine.pid)
    assert namespace.get("configmap", "kept")["data"] == {"a": "b"}
    namespace.apply(pod("after", "true"))
    namespace.wait("pod/after", "jsonpath={.status.phase}=Succeeded")


def test_a_full_disk_is_felt_by_the_pod_alone(namespace: Kube, machine: Machine) -> None:
    with faults.small_disk(machine.pid, 2**20) as path:
        namespace.apply(*claim(namespace.namespace, path))
        volume = {"name": "out", "persistentVolumeClaim": {"claimName": "out"}}
        write = "dd if=/dev/zero of=/out/big bs=64k count=64 2>&1; exit $?"
        mount = {"volumeMounts": [{"name": "out", "mountPath": "/out"}]}
        namespace.apply(pod("writer", "sh", "-c", write, volumes=[volume], container=mount))
        terminated(namespace, "writer")
        assert "No space left on device" in namespace("logs", "writer")
        namespace("delete", "pod/writer", "pvc/out", "--now")
    namespace("delete", "pv", namespace.namespace, "--wait=false")


def test_a_gpu_that_is_gone_is_waited_for(namespace: Kube, machine: Machine) -> None:
    with faults.without_gpus(machine.layout, machine.pid, 1):
        namespace.apply(pod("gpu", "true", container=GPU))
        assert "Insufficient nvidia.com/gpu" in why_pending(namespace, "gpu")
    namespace.wait("pod/gpu", "jsonpath={.status.phase}=Succeeded")


@pytest.mark.alone
def test_a_restarted_kubelet_has_its_gpus_again_and_their_pods_run_on(
    namespace: Kube, machine: Machine
) -> None:
    namespace.apply(pod("first", container=GPU))
    namespace.wait("pod/first", "condition=Ready")
    control.restart(machine.layout, machine.pid, "kubelet")
    gpus.wait_until_offered(machine.layout, machine.pid, 1)
    namespace.apply(pod("next", "true", container=GPU))
    assert "Insufficient nvidia.com/gpu" in why_pending(namespace, "next")
    assert namespace.get("pod", "first")["status"]["phase"] == "Running"
    namespace("delete", "pod", "first", "--now")
    namespace.wait("pod/next", "jsonpath={.status.phase}=Succeeded")


def why_pending(namespace: Kube, name: str) -> str:
    """What the scheduler says of a pod that it cannot place."""
    namespace.wait(f"pod/{name}", "condition=PodScheduled=False")
    conditions = namespace.get("pod", name)["status"]["conditions"]
    return str(next(c["message"] for c in conditions if c["type"] == "PodScheduled"))


def claim(namespace: str, path: Path) -> list[Object]:
    """A PersistentVolume on that path of the node, and a claim bound to it."""
    size = {"storage": "1Mi"}
    spec: Object = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    volume = {
        **spec,
        "capacity": size,
        "hostPath": {"path": str(path)},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    wish = {**spec, "resources": {"requests": size}, "volumeName": namespace}
    listed = json.loads(json.dumps([volume, wish]))
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": namespace},
            "spec": listed[0],
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "out"},
            "spec": listed[1],
        },
    ]
