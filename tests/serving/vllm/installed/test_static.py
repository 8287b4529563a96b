"""KAITO's e2e 4 and 5 with our operator: vLLM with an adapter of an image, and one of a volume."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rig import tiny
from rig.asking import CODES, QUESTIONS, Asking, by_image, serving
from rig.installed import Small

from tests.operator.installed.test_end_to_end import claim
from tests.operator.installed.test_serving import ready

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def test_an_image_and_a_volume_are_served_by_vllm(
    small: Small, codes_adapter: Path, codes_image: str
) -> None:
    folder = small.machine.layout.state / "volumes" / f"{small.kube.namespace}-adapter"
    shutil.copytree(codes_adapter, folder)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    small.kube.apply(*claim(small.kube.namespace, "adapter", folder))
    volume = {"persistentVolumeClaim": {"claimName": "adapter"}}
    on_volume = {"source": {"name": "mounted", "volumeSource": volume}}
    adapters = (by_image("codes", codes_image, strength="0.5"), on_volume)
    small.kube.apply(serving(*adapters, **{"kaito.sh/runtime": "vllm"}))
    status = ready(small, timeout_s=300)
    assert [one["served"] for one in status["adapters"]] == [True, True]
    asking = Asking(small)
    assert asking.models() == {tiny.MODEL_ID, "codes", "mounted"}
    assert asking.openai("mounted") == CODES
    assert asking.openai(tiny.MODEL_ID) != CODES
    assert asking.openai("codes") != asking.openai("mounted"), "half of it is something else"
    assert asking.chat(QUESTIONS[0]) == asking.openai(tiny.MODEL_ID, QUESTIONS[:1])[0]
    spec = small.kube.get("pod", "serve-0")["spec"]
    assert [c["name"] for c in spec["initContainers"]] == ["prepare"]
    claims = [v.get("persistentVolumeClaim", {}).get("claimName") for v in spec["volumes"]]
    assert "adapter" in claims
