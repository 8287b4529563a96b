"""Raw Kubernetes objects → slim values, whatever is missing in them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import by_hand, slim
from jobs.quantity import quantity
from jobs.seen import Job, Note, Pod, Revision, Snapshot

JOB: dict[str, Any] = {
    "metadata": {
        "name": "w",
        "uid": "1",
        "labels": {
            "kaito.sh/workspace": "w",
            "kaito.sh/workspacenamespace": "default",
            "tunery.sh/run": "abc",
            "kueue.x-k8s.io/queue-name": "team",
        },
        "annotations": {"workspace.kaito.io/revision": "1", "workspace.kaito.io/hash": "h"},
        "ownerReferences": [{"uid": "x"}, {"uid": "2", "controller": True}],
    },
    "spec": {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 3,
        "suspend": False,
        "template": {"metadata": {"labels": {"tunery.sh/run": "abc"}}},
    },
    "status": {"startTime": "2026-11-27T10:00:00Z", "failed": 1},
}
CHANGES: tuple[tuple[tuple[str, ...], Any, bool], ...] = (
    (("metadata", "labels", "tunery.sh/run"), "other", True),
    (("metadata", "labels", "kaito.sh/workspace"), "other", True),
    (("metadata", "annotations", "workspace.kaito.io/revision"), "2", True),
    (("spec", "parallelism"), 2, True),
    (("spec", "backoffLimit"), 0, True),
    (("spec", "activeDeadlineSeconds"), 60, True),
    (("spec", "ttlSecondsAfterFinished"), 60, True),
    (("spec", "suspend"), True, False),
    (("metadata", "labels", "kueue.x-k8s.io/queue-name"), "other", False),
    (("metadata", "annotations", "note"), "of a person", False),
    (("status", "failed"), 2, False),
)


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    body = copy.deepcopy(JOB)
    at = body
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return body


@pytest.mark.parametrize(("path", "value", "matters"), CHANGES)
def test_an_edit_by_hand_shows(path: tuple[str, ...], value: Any, matters: bool) -> None:
    differs = by_hand.values(changed(path, value)) != by_hand.values(JOB)
    assert differs == matters


@pytest.mark.parametrize(("path", "value", "matters"), CHANGES)
def test_the_mutable_part_is_the_patch_that_puts_it_back(
    path: tuple[str, ...], value: Any, matters: bool
) -> None:
    edited = changed(path, value)
    for part in ("labels", "annotations"):
        edited["metadata"][part] |= by_hand.patch(JOB)["metadata"][part]
    edited["spec"] |= by_hand.patch(JOB)["spec"]
    cured = {k: v for k, v in edited["spec"].items() if v is not None}
    assert by_hand.values({**edited, "spec": cured}) == by_hand.values(JOB)


def test_the_api_servers_defaults_are_no_edit() -> None:
    bare = {"metadata": JOB["metadata"], "spec": {}}
    filled = {"metadata": JOB["metadata"], "spec": {"parallelism": 1, "backoffLimit": 6}}
    assert by_hand.values(bare) == by_hand.values(filled)


def test_a_job() -> None:
    job = slim.job(JOB)
    assert (job.owner_uid, job.run, job.failed, job.has_pods) == ("2", "abc", 1, False)
    assert not job.deleting and not job.suspended
    assert slim.job(changed(("metadata", "deletionTimestamp"), "2026-11-27T10:00:00Z")).deleting
    assert slim.job(changed(("spec", "suspend"), True)).suspended


def test_what_the_pods_tell_themselves_wakes_nobody() -> None:
    ready = changed(("status", "ready"), 1)
    met = {"type": "SuccessCriteriaMet", "status": "True"}
    conditions = changed(("status", "conditions"), [*JOB["status"].get("conditions", ()), met])
    assert slim.job(ready) == slim.job(JOB) == slim.job(conditions)
    assert slim.job(ready).ready


def test_a_pod_that_ended_is_there_until_it_is_counted() -> None:
    runs = slim.job(changed(("status",), {"active": 1}))
    status = {"uncountedTerminatedPods": {"succeeded": ["uid"]}}
    assert slim.job(changed(("status",), status)) == runs
    counted = slim.job(changed(("status",), {"uncountedTerminatedPods": {}, "succeeded": 1}))
    assert not counted.has_pods and counted != runs


def test_a_job_of_nobody() -> None:
    assert slim.job({"metadata": {"name": "w"}}) == Job("w", "", "", "", mutable=by_hand.values({}))


def test_a_pod() -> None:
    body = {
        "metadata": {"name": "p", "uid": "u", "labels": {"tunery.sh/run": "abc"}},
        "spec": {
            "nodeName": "n",
            "initContainers": [{"name": "prepare", "image": "a"}],
            "containers": [{"name": "w", "image": "b"}],
            "volumes": [{"name": "x", "emptyDir": {}}, {"name": "y", "image": {"reference": "c"}}],
        },
        "status": {
            "phase": "Pending",
            "podIP": "10.0.0.1",
            "containerStatuses": [
                {"name": "w", "image": "sha256:1", "state": {"waiting": {"reason": "R"}}}
            ],
            "initContainerStatuses": [
                {"name": "prepare", "state": {"terminated": {"exitCode": 0, "message": "{}"}}}
            ],
        },
    }
    pod = slim.pod(body)
    assert [(c.name, c.init, c.state, c.exit_code, c.image) for c in pod.containers] == [
        ("prepare", True, "terminated", 0, "a"),
        ("w", False, "waiting", None, "b"),
    ]
    assert (pod.images, pod.ip, pod.node, pod.run) == (("c",), "10.0.0.1", "n", "abc")


def test_a_pod_that_was_only_just_made() -> None:
    assert slim.pod({"metadata": {"name": "p"}}) == Pod("p", "", "", "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16393244Ki", 16393244 * 1024),
        ("9223372036854775807", 9223372036854775807),
        ("64Gi", 64 * 2**30),
        ("1.5Gi", 3 * 2**29),
        ("2e3", 2000),
        ("12E", 12 * 10**18),
        ("1500m", 1),
        ("8", 8),
        (8, 8),
        ("", 0),
        (None, 0),
        ("many", 0),
        ("1e999", 0),
        ("nanGi", 0),
    ],
)
def test_quantities(text: object, value: int) -> None:
    assert quantity(text) == value


def test_a_node() -> None:
    status = {
        "allocatable": {"nvidia.com/gpu": "2", "memory": "1Gi"},
        "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "now"}],
    }
    node = slim.node({"metadata": {"name": "n", "labels": {"a": "b"}}, "status": status})
    assert (node.ready, node.gpus, node.memory_bytes, node.labels) == (True, 2, 2**30, {"a": "b"})
    lost = {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}
    assert not slim.node({"metadata": {"name": "n"}, "status": lost}).ready


def test_what_is_small() -> None:
    metadata = {
        "name": "x",
        "labels": {"tunery.sh/run": "abc"},
        "annotations": {"workspace.kaito.io/hash": "h"},
    }
    assert slim.revision({"metadata": metadata, "revision": 3}) == Revision("x", 3, "h")
    assert slim.snapshot({"metadata": metadata}) == Snapshot("x", "abc")
    about = {"reason": "FailedMount", "message": "m"}
    assert slim.note({"involvedObject": {"uid": "u"}, **about}) == Note("u", "FailedMount", "m")
    new = {"regarding": {"uid": "u"}, "reason": "FailedMount", "note": "m"}
    assert slim.note(new) == Note("u", "FailedMount", "m")


def test_only_configurations_are_kept_of_config_maps() -> None:
    assert slim.config_map({"data": {"kubeconfig": "secret"}}) is None
    assert slim.config_map({}) is None
    assert slim.config_map({"data": {"training_config.yaml": "a: b"}}) == {
        "training_config.yaml": "a: b"
    }


KEYS = st.sampled_from(
    [
        *("metadata", "spec", "status", "labels", "conditions", "state", "terminated", "volumes"),
        *("containerStatuses", "initContainerStatuses", "ownerReferences", "image", "allocatable"),
    ]
)
BODIES = st.recursive(
    st.none() | st.text(max_size=5) | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(KEYS, BODIES, max_size=4))
def test_nothing_raises(body: dict[str, Any]) -> None:
    for read in (slim.job, slim.pod, slim.node, slim.revision, slim.snapshot, slim.note):
        read(body)
    slim.config_map(body)
