"""Adapters of a served model: how strong, which ones, and those that cannot be served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rig import served, tiny
from rig.asking import CODES, QUESTIONS, Asking, by_image, by_workspace, serving
from rig.installed import Small

from cluster.addresses import REGISTRY
from tests.operator.installed.test_end_to_end import claim
from tests.operator.installed.test_serving import REASON, ready

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]
Object = dict[str, Any]


def events(small: Small, reason: str) -> list[str]:
    found = json.loads(small.kube("get", "events", "-o", "json"))["items"]
    return [event["message"] for event in found if event["reason"] == reason]


def told(small: Small) -> dict[str, Any]:
    return {one["name"]: one for one in small.status("serve").get("adapters", ())}


def test_strength_and_a_change_of_adapters(small: Small, codes_image: str) -> None:
    """KAITO's e2e 3: an adapter with strength; then another set of adapters is revision 2."""
    small.kube.apply(serving(by_image("codes", codes_image, strength="0")))
    ready(small)
    asking = Asking(small)
    assert asking.models() == {tiny.MODEL_ID, "codes"}
    assert not set(asking.openai("codes")) & set(CODES), "at strength 0 it is the base"
    halves = (
        by_image("codes", codes_image, strength="0.5"),
        by_image("again", codes_image, strength="0.5"),
    )
    small.kube.apply(serving(*halves))
    small.reaches("{.status.run.revision}", "2", "serve")
    small.reaches("{.status.adapters[1].served}", "true", "serve", timeout_s=150)
    ready(small)
    assert asking.models() == {tiny.MODEL_ID, "codes", "again"}
    assert asking.openai(tiny.MODEL_ID) == CODES, "two halves are the whole"
    assert asking.chat(QUESTIONS[0]) == CODES[0]
    [replaced] = events(small, "ServingReplaced")
    assert "again added" in replaced and "its pod is replaced" in replaced
    found = small.kube.get("workspace", "serve")["metadata"]["annotations"]
    pod = small.kube.get("pod", "serve-0")["metadata"]["annotations"]
    assert found["workspace.kaito.io/revision"] == pod["workspace.kaito.io/revision"] == "2"


def test_bad_adapters_are_named_and_the_good_one_is_served(
    small: Small,
    codes_adapter: Path,
    codes_image: str,
    tmp_path: Path,
) -> None:
    bad = {
        "no-weights": served.without_weights,
        "cut-short": served.cut,
        "other-base": served.of_another_base,
    }
    images = {
        name: served.pushed(small.machine, codes_adapter, tmp_path, name, change)
        for name, change in bad.items()
    }
    small.kube.apply(
        serving(
            by_image("codes", codes_image),
            *(by_image(name, image) for name, image in images.items()),
            by_image("gone", f"{REGISTRY}/test/nothing:1"),
            by_workspace("absent"),
        )
    )
    small.reaches("{.status.adapters[0].served}", "true", "serve", timeout_s=240)
    small.reaches(REASON, "AdapterNotServed", "serve")
    status, adapters = small.status("serve"), told(small)
    message = small.condition("InferenceReady", "serve")["message"]
    assert status["state"] == "NotReady"
    for name in (*bad, "gone", "absent"):
        assert not adapters[name]["served"] and name in message, (name, message)
    assert "org/another-model" in adapters["other-base"]["message"]
    asking = Asking(small)
    assert asking.openai("codes") == CODES
    assert adapters["gone"]["pulled"]


def test_an_adapter_on_a_volume(small: Small, codes_adapter: Path) -> None:
    """KAITO's e2e 5, on the runtime that costs less."""
    folder = small.machine.layout.state / "volumes" / f"{small.kube.namespace}-adapter"
    shutil.copytree(codes_adapter, folder)
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
    small.kube.apply(*claim(small.kube.namespace, "adapter", folder))
    volume = {"persistentVolumeClaim": {"claimName": "adapter"}}
    small.kube.apply(serving({"source": {"name": "codes", "volumeSource": volume}}))
    ready(small)
    spec = small.kube.get("pod", "serve-0")["spec"]
    assert [c["name"] for c in spec["initContainers"]] == ["prepare"]
    assert "adapter" in [
        v.get("persistentVolumeClaim", {}).get("claimName") for v in spec["volumes"]
    ]
    assert Asking(small).openai("codes") == CODES
