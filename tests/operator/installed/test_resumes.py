"""A pod that is evicted or killed while it trains: the next one goes on, to the same digest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rig.installed import Small

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
Object = dict[str, Any]
STEPS = 1500


def pods(small: Small, workspace: str) -> list[str]:
    found = json.loads(
        small.kube("get", "pods", "-l", f"kaito.sh/workspace={workspace}", "-o", "json")
    )
    return [pod["metadata"]["name"] for pod in found["items"]]


def evict(small: Small, pod: str) -> None:
    """As `kubectl drain` and the cluster autoscaler do."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": small.kube.namespace},
    }
    path = f"/api/v1/namespaces/{small.kube.namespace}/pods/{pod}/eviction"
    small.kube("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def kill(small: Small, pod: str) -> None:
    """As a node does that is gone: no time to save anything."""
    small.kube("delete", "pod", pod, "--force", "--grace-period=0")


@pytest.mark.parametrize("end", [evict, kill])
def test_the_next_pod_goes_on(small: Small, end: Any) -> None:
    small.kube.apply(small.config(steps=STEPS, save_strategy="steps", save_steps=50))
    small.kube.apply(small.workspace())
    kept = "--for=jsonpath={.status.progress.keptStep}"
    small.kube("wait", "workspace/codes", kept, "--timeout=90s")
    (first,) = pods(small, "codes")
    end(small, first)
    status = small.succeeded(timeout_s=200)
    (log,) = [
        small.kube("logs", pod, "-c", "codes") for pod in pods(small, "codes") if pod != first
    ]
    assert "fetched the checkpoint of step" in log
    assert "going on from step" in log
    assert [a["step"] for a in status["attempts"]][-1] == STEPS
    before, _ = status["attempts"]
    assert "keptStep" not in status["progress"]
    assert end is kill or before["keptStep"] == before["step"]
    events = json.loads(small.kube("get", "events", "-o", "json"))["items"]
    told = [e["message"] for e in events if e["reason"] == "AttemptFailed"]
    assert end is kill or told[0].endswith(f"; step {before['keptStep']} is kept")

    small.kube.apply(small.workspace("whole"))
    assert small.succeeded("whole", 200)["output"]["digest"] == status["output"]["digest"]
