"""What goes wrong with real pods, and the one sentence that a user reads (docs/status.md)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rig.installed import MODEL, Small, Tunery
from rig.kube import Kube, docker_secret

from cluster import faults
from cluster.addresses import DATA, REGISTRY

pytestmark = pytest.mark.timeout(300)
Object = dict[str, Any]
STARTED = '{.status.conditions[?(@.type=="JobStarted")].reason}'


def preset(image: str, *secrets: str) -> Object:
    options = {"image": image, "imagePullSecrets": list(secrets)}
    return {"name": "tunery-tests/tiny-llama", "presetOptions": options}


def volume(claim: str) -> Object:
    return {"volumeSource": {"persistentVolumeClaim": {"claimName": claim}}}


WAITS = {
    "an image that is not there": (
        "ImagePullError",
        {"tuning.preset": preset(f"{REGISTRY}/test/nothing:1", "push")},
        ("test/nothing:1",),
    ),
    "a login that the registry does not know": (
        "ImagePullError",
        {"tuning.preset": preset(MODEL, "stale"), "tuning.output": volume("output")},
        ("tiny-llama", "stale"),
    ),
    "a push Secret that is not there": (
        "SecretMissing",
        {"tuning.output": {"image": f"{REGISTRY}/x/y:1", "imagePushSecret": "nobodys"}},
        ("nobodys", "imagePushSecret"),
    ),
    "a claim that is not there": ("Unschedulable", {"tuning.input": volume("absent")}, ("absent",)),
}
FAILS = {
    "a link that leads nowhere": (
        "BadConfig",
        {"tuning.input": {"urls": [f"https://{DATA}/nothing.parquet"]}},
        ("nothing.parquet", "404"),
    ),
    "data that nobody can learn from": (
        "BadData",
        {"tuning.input": {"urls": [f"https://{DATA}/numbers.jsonl"]}},
        ("numbers.jsonl",),
    ),
    "a login that may only pull": (
        "NoAccess",
        {"tuning.output": {"image": f"{REGISTRY}/x/y:1", "imagePushSecret": "puller"}},
        ("x/y",),
    ),
}


@pytest.fixture
def mistaken(small: Small) -> Small:
    """What the mistakes of this module need beside a good namespace."""
    layout = small.machine.layout
    (layout.web / "numbers.jsonl").write_text('{"number": 1}\n' * 40)
    stale = {"auths": {REGISTRY: {"auth": "bm9ib2R5Ondyb25n"}}}  # nobody:wrong
    logins = {"stale": json.dumps(stale), "puller": layout.docker_config("puller").read_text()}
    for name, login in logins.items():
        small.kube.apply(docker_secret(name, login))
    small.kube.apply(*claim_of(small.kube))
    return small


def claim_of(kube: Kube) -> tuple[Object, Object]:
    """A claim `output`, bound to a folder of the node."""
    size, name = {"storage": "1Gi"}, f"{kube.namespace}-output"
    shared = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    reference = {"namespace": kube.namespace, "name": "output"}
    path = {"path": f"/var/lib/{name}", "type": "DirectoryOrCreate"}
    volume = {"capacity": size, "hostPath": path, "claimRef": reference, **shared}
    wanted = {"resources": {"requests": size}, "volumeName": name, **shared}
    return (
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": volume,
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "output"},
            "spec": wanted,
        },
    )


@pytest.mark.parametrize("case", WAITS)
def test_it_waits_and_says_for_what(mistaken: Small, case: str) -> None:
    reason, changes, words = WAITS[case]
    mistaken.kube.apply(mistaken.workspace(changes=changes))
    mistaken.reaches(STARTED, reason)
    status, started = mistaken.status(), mistaken.condition("JobStarted")
    assert status["state"] == "Pending" and started["status"] == "False"
    assert all(word in started["message"] for word in words), started
    mistaken.kube("delete", "workspace", "codes", "--wait=true")


@pytest.mark.parametrize("case", FAILS)
def test_it_fails_before_it_trains_and_says_why(mistaken: Small, case: str) -> None:
    kind, changes, words = FAILS[case]
    mistaken.kube.apply(mistaken.workspace(changes=changes))
    mistaken.reaches("{.status.state}", "Failed")
    status = mistaken.status()
    [attempt] = status["attempts"]
    assert attempt["kind"] == kind
    assert all(word in attempt["sentence"] for word in words), attempt
    assert "progress" not in status and "output" not in status
    assert attempt["sentence"] in mistaken.condition("WorkspaceSucceeded")["message"]


def test_a_full_quota_is_told(small: Small) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    small.kube.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    small.kube.apply(small.workspace())
    small.reaches(STARTED, "QuotaExceeded")
    assert "none" in small.condition("JobStarted")["message"]
    small.kube("delete", "resourcequota", "none")


def test_no_gpu_is_told_before_a_job_is_made(small: Small) -> None:
    with faults.without_gpus(small.machine.layout, small.machine.pid, 1):
        small.kube.apply(small.workspace())
        small.reaches("{.status.state}", "Pending")
        ready = small.condition("NodesReady")
        assert (ready["status"], ready["reason"]) == ("False", "NodePluginsNotReady")
        assert "node1" in ready["message"]
        assert small.kube.attempt("get", "job", "codes").returncode != 0
    small.succeeded()


@pytest.mark.long
def test_two_runs_share_one_gpu_one_after_the_other(small: Small) -> None:
    small.kube.apply(small.config(steps=60), small.workspace("first"), small.workspace("second"))
    path = '{.items[*].status.conditions[?(@.type=="JobStarted")].reason}'
    small.succeeded("first", timeout_s=150)
    small.succeeded("second", timeout_s=150)
    events = small.kube("get", "events", "-o", "jsonpath={.items[*].reason}")
    assert "Unschedulable" in events, (path, events)


def running_pod(small: Small) -> Object:
    small.reaches("{.status.progress.of}", "4000", timeout_s=100)
    found = json.loads(small.kube("get", "pods", "-o", "json"))["items"]
    return next(p for p in found if p["status"]["phase"] == "Running")


@pytest.mark.long
@pytest.mark.parametrize("fault", ["evicted", "killed"])
def test_an_attempt_that_is_lost_is_told_and_another_made(small: Small, fault: str) -> None:
    small.kube.apply(small.config(steps=4000), small.workspace())
    pod = running_pod(small)
    machine, name = small.machine, pod["metadata"]["name"]
    if fault == "evicted":
        faults.evict(machine.layout, machine.pid, small.kube.namespace, name)
    else:
        identity = pod["status"]["containerStatuses"][0]["containerID"]
        faults.kill_container(machine.layout, machine.pid, identity)
    small.reaches("{.status.attempts[?(@.attempt==2)].attempt}", "2", timeout_s=90)
    status = small.status()
    first = status["attempts"][0]
    assert first["kind"] == {"evicted": "PodEvicted", "killed": "ContainerKilled"}[fault]
    assert first["pod"] == name and first["endedAt"]
    assert status["state"] in ("Running", "Pending")
    small.kube("delete", "workspace", "codes", "--wait=true")


@pytest.mark.long
def test_memory_that_ends_is_told_with_its_limit(small: Small, tunery: Tunery) -> None:
    config = small.config()
    text = config["data"]["training_config.yaml"].replace("r: 16,", "r: 16384,")
    small.kube.apply({**config, "data": {"training_config.yaml": text}}, small.workspace())
    small.reaches("{.status.attempts[0].kind}", "ContainerOOMKilled", timeout_s=100)
    assert "1 GiB" in small.status()["attempts"][0]["sentence"]
    small.kube("delete", "workspace", "codes", "--wait=true")


@pytest.mark.long
def test_a_registry_that_is_away_is_waited_for(small: Small) -> None:
    small.kube.apply(small.config(steps=200), small.workspace())
    small.reaches("{.status.progress.of}", "200", timeout_s=100)
    with faults.without_registry(small.machine.layout, small.machine.pid):
        small.reaches("{.status.progress.percent}", "100", timeout_s=100)
    small.succeeded(timeout_s=120)
    assert len(small.status()["attempts"]) == 1
