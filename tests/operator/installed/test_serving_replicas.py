"""While serving pods are replaced the Service goes on answering: two of them, or one and a node."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event
from typing import Any

import pytest
from rig.asking import CODES, QUESTIONS, Asking, by_image, serving
from rig.installed import APP, INSTANCE_TYPE, Small

from cluster import gpus
from tests.operator.installed.test_serving import ready

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]
Object = dict[str, Any]
PAUSE_S = 0.1
MOST = 3000
"""So often it is asked at most: five minutes and more."""
STRONG, WEAK = "1", "0.9"
"""The codes are the same with both: what else is answered is a failure."""


@pytest.fixture
def room_for_two(small: Small) -> Iterator[None]:
    """Two nodes for the operator, and cards for two pods on the only one that there is.

    Tunery begins when each server has a node. Here the second is one in name only: it is Ready for
    as long as the node controller waits for its kubelet, and takes no pods.
    """
    machine, kube = small.machine, small.kube
    gpus.offer(machine.layout, machine.pid, 2)
    try:
        kube.apply(in_name_only())
        is_ready(small)
        yield
    finally:
        kube("delete", "node", "in-name-only", "--ignore-not-found")
        gpus.offer(machine.layout, machine.pid, 1)


def is_ready(small: Small) -> None:
    """The second node is Ready for the next seconds."""
    patch = ("--type=merge", "-p", json.dumps({"status": ready_now()}))
    small.kube("patch", "node", "in-name-only", "--subresource=status", *patch)


def in_name_only() -> Object:
    labels = {"node.kubernetes.io/instance-type": INSTANCE_TYPE, "app": APP}
    taint = {"key": "test", "value": "no-kubelet", "effect": "NoSchedule"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "in-name-only", "labels": labels},
        "spec": {"taints": [taint]},
    }


def ready_now() -> Object:
    """What a kubelet that has just started would say: the node controller believes it a while."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    cards = {"nvidia.com/gpu": "1"}
    condition = {"type": "Ready", "status": "True", "reason": "Test", **times}
    return {"conditions": [condition], "allocatable": cards, "capacity": cards}


def pods(small: Small) -> list[Object]:
    listed = json.loads(small.kube("get", "pods", "-o", "json"))["items"]
    return [one for one in listed if not one["metadata"].get("deletionTimestamp")]


def uids(small: Small) -> set[str]:
    return {one["metadata"]["uid"] for one in pods(small)}


def asked_until(done: Event, small: Small, address: str) -> Counter[str]:
    """Ask the Service again and again, by a new connection each time; what was answered."""
    body = {"prompt": QUESTIONS[0], "generate_kwargs": {"do_sample": False, "max_new_tokens": 12}}
    argv = ("curl", "-sS", "-m", "30", "-H", "content-type: application/json")
    answers: Counter[str] = Counter()
    while not done.wait(PAUSE_S) and answers.total() < MOST:
        url = f"{address}/chat"
        said = small.machine.run(*argv, "-d", json.dumps(body), url, check=False)
        answers[f"{said.stdout}{said.stderr}".strip()] += 1
    return answers


def several(image: str, strength: str, count: int) -> Object:
    body = serving(by_image("codes", image, strength=strength))
    body["resource"]["count"] = count
    return body


@pytest.mark.parametrize("count", [2, 1])
def test_nobodys_question_is_lost_while_pods_are_replaced(
    small: Small, codes_image: str, room_for_two: None, count: int
) -> None:
    """Two are replaced one after the other. A single one gets a second one meanwhile."""
    small.kube.apply(several(codes_image, STRONG, count))
    ready(small)
    before = uids(small)
    assert len(before) == count
    asking, done = Asking(small), Event()
    assert asking.openai("codes") == CODES
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(asked_until, done, small, asking.address)
        try:
            is_ready(small)
            small.kube.apply(several(codes_image, WEAK, count))
            small.reaches("{.status.run.revision}", "2", "serve")
            small.kube("rollout", "status", "statefulset/serve", "--timeout=110s")
            usual = f"jsonpath={{.status.replicas}}={count}"
            small.kube.wait("statefulset/serve", usual, timeout_s=60)
            ready(small)
        finally:
            done.set()
    assert len(uids(small)) == count and not uids(small) & before, "all pods are new"
    found = answers.result()
    assert found.total() > 50, found
    assert set(found) == {json.dumps({"Result": CODES[0]}, separators=(",", ":"))}, found
