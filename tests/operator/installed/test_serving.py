"""Two YAMLs that know each other: tune, mount, ask. Real pods, the library's own server."""

from __future__ import annotations

from typing import Any

import pytest
from rig import tiny
from rig.asking import CODES, QUESTIONS, Asking, by_workspace, serving
from rig.installed import Small

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]
Object = dict[str, Any]
REASON = '{.status.conditions[?(@.type=="InferenceReady")].reason}'


def ready(small: Small, name: str = "serve", timeout_s: int = 180) -> Object:
    """The status after `kubectl wait --for=condition=InferenceReady`."""
    what = f"workspace/{name}"
    wait = ("wait", what, "--for=condition=InferenceReady", f"--timeout={timeout_s}s")
    done = small.kube.attempt(*wait, limit_s=timeout_s + 30)
    assert done.returncode == 0, (done.stderr, small.status(name), small.pods())
    return small.status(name)


def test_an_adapter_is_tuned_waited_for_served_and_answers(small: Small) -> None:
    """The serving one is applied first: it waits, and says for what."""
    small.kube.apply(serving(by_workspace()))
    small.reaches(REASON, "AdapterNotServed", "serve")
    small.kube.apply(small.config(steps=160), small.workspace())
    small.reaches(REASON, "WaitingForAdapter", "serve")
    assert small.kube.attempt("get", "statefulset", "serve").returncode != 0
    made = small.succeeded()["output"]
    status = ready(small)
    assert status["state"] == "Ready"
    [adapter] = status["adapters"]
    assert adapter["served"] and adapter["digest"] == made["digest"]
    asking = Asking(small)
    assert asking.models() == {tiny.MODEL_ID, "codes"}
    assert asking.openai("codes") == CODES
    assert [asking.chat(question) for question in QUESTIONS] == CODES
    assert asking.curl("/")["message"] == "Server is running"
    # Deleting the tuning Workspace changes nothing: what is served is pinned.
    small.kube("delete", "workspace", "codes", "--wait=true")
    assert ready(small)["adapters"] == status["adapters"]
    small.kube("delete", "workspace", "serve", "--wait=true")
    small.kube("wait", "statefulset/serve", "--for=delete", "--timeout=90s")
