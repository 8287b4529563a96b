"""Adapters that cannot be served: each is named with its reason, and the good one answers.

Beside those of test_serving_adapters.py: here are files that are wrong in other ways, and places
from which nothing can be had. A user reads only the Workspace, so only that is read here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rig import loras, served, tiny
from rig.asking import CODES, Asking, by_image, by_workspace, serving
from rig.installed import MODEL, Small
from rig.kube import docker_secret

from cluster.addresses import DATA, REGISTRY
from tests.operator.installed.test_end_to_end import claim
from tests.operator.installed.test_serving import REASON

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]
Object = dict[str, Any]
FIRST_SERVED = "{.status.adapters[0].served}"
NOWHERE = "sha256:" + "0" * 64
FILES = {
    "no-config": (served.without_config, "BadConfig", "holds no adapter_config.json"),
    "noise": (served.noise, "BadAdapter", "is not a safetensors file"),
    "diverged": (served.not_finite, "BadAdapter", "infinite or not a number"),
    "ia3": (served.configured(peft_type="IA3"), "BadAdapter", "is of the kind"),
    "dora": (served.configured(use_dora=True), "BadAdapter", "has DoRA"),
    "other-rank": (served.configured(r=64), "BadAdapter", "tensors of rank 16"),
}
"""Name → what is done to a good adapter's files, reason, words of the sentence."""
PLACES = {
    "locked": ("NoAccess", f"{REGISTRY}/test/locked-adapter"),
    "digest-gone": ("BadConfig", f"@{NOWHERE}; check the name and the digest"),
    "empty": ("BadConfig", "its image or volume is empty"),
    "failed": ("NoSource", "the tuning of failed has failed"),
    "reader": ("NoSource", "the Workspace reader serves, it does not tune"),
    "deleted": ("NoSource", "there is no Workspace deleted"),
}
"""Name → reason, words of the sentence."""


def named(
    small: Small, expected: dict[str, tuple[str, str]], good: tuple[str, ...] = ("codes",)
) -> None:
    """Once the first adapter is served: every bad one is told, in its line and in the message."""
    small.reaches(FIRST_SERVED, "true", "serve", timeout_s=240)
    small.reaches(REASON, "AdapterNotServed", "serve")
    status, message = small.status("serve"), small.condition("InferenceReady", "serve")["message"]
    adapters = {one["name"]: one for one in status["adapters"]}
    assert [name for name in adapters if adapters[name]["served"]] == list(good)
    assert set(adapters) == {*good, *expected}
    for name, (reason, words) in expected.items():
        told = adapters[name]["message"]
        assert adapters[name]["reason"] == reason, adapters[name]
        assert told.startswith(f"adapter {name}: ") and words in told, told
        assert f"adapter {name}: " in message, message
    assert message.endswith(f"served: {', '.join((tiny.MODEL_ID, *good))}")
    assert Asking(small).openai("codes") == CODES


def test_files_that_are_wrong(
    small: Small, codes_adapter: Path, codes_image: str, tiny_base: Path, tmp_path: Path
) -> None:
    """The server would load some of these without a word and answer nonsense.

    A high rank is none of them: vLLM has a limit (tests/serving/test_check.py), transformers none.
    """
    images = {
        name: served.pushed(small.machine, codes_adapter, tmp_path, name, change)
        for name, (change, _, _) in FILES.items()
    }
    wide = loras.lora(tiny_base, tmp_path / "of-rank-640", r=640, init_lora_weights=True)
    high = served.pushed(small.machine, wide, tmp_path, "high")
    bad = (by_image(name, image) for name, image in images.items())
    small.kube.apply(serving(by_image("codes", codes_image), by_image("high", high), *bad))
    expected = {name: (reason, words) for name, (_, reason, words) in FILES.items()}
    named(small, expected, good=("codes", "high"))


def opens(small: Small, *images: str) -> Object:
    """A Secret `some` for these repositories alone: one for the registry would open all of it."""
    login = json.loads(small.machine.layout.docker_config("pusher").read_text())["auths"][REGISTRY]
    repositories = (image.rpartition(":")[0] for image in images)
    return docker_secret("some", json.dumps({"auths": dict.fromkeys(repositories, login)}))


def without_adapters_to_give(small: Small) -> None:
    """Workspaces that have failed, or serve themselves; and a claim with nothing in it."""
    nowhere = {"tuning.input": {"urls": [f"https://{DATA}/nothing.parquet"]}}
    small.kube.apply(small.workspace("failed", nowhere))
    small.kube.apply(serving(by_workspace("absent"), name="reader"))
    folder = small.machine.layout.state / "volumes" / f"{small.kube.namespace}-empty"
    folder.mkdir(parents=True)
    small.kube.apply(*claim(small.kube.namespace, "empty", folder))
    small.reaches("{.status.state}", "Failed", "failed")
    small.reaches(REASON, "AdapterNotServed", "reader")


def test_places_without_an_adapter(
    small: Small, codes_adapter: Path, codes_image: str, tmp_path: Path
) -> None:
    """Whatever is unreachable is left out, and holds up the good one only as long as it may come.

    The tuning Workspace that is deleted was waited for until then.
    """
    locked = served.pushed(small.machine, codes_adapter, tmp_path, "locked")
    without_adapters_to_give(small)
    volume = {"persistentVolumeClaim": {"claimName": "empty"}}
    body = serving(
        {"source": {"name": "codes", "image": codes_image, "imagePullSecrets": ["some"]}},
        {"source": {"name": "locked", "image": locked}},
        {"source": {"name": "digest-gone", "image": f"{codes_image.rpartition(':')[0]}@{NOWHERE}"}},
        {"source": {"name": "empty", "volumeSource": volume}},
        *(by_workspace(name) for name in ("failed", "reader", "deleted")),
    )
    body["inference"]["preset"]["presetOptions"]["imagePullSecrets"] = ["some"]
    small.kube.apply(opens(small, MODEL, codes_image), small.config(steps=4000))
    small.kube.apply(small.workspace("deleted"), body)
    small.reaches(REASON, "WaitingForAdapter", "serve")
    small.kube("delete", "workspace", "deleted", "--wait=true")
    named(small, PLACES)


@pytest.mark.parametrize("name", ["my.adapter", "My-Adapter"])
def test_a_name_that_no_volume_can_have_is_refused(small: Small, name: str) -> None:
    """At once, at `kubectl apply`: later it would be a pod that cannot be made."""
    body = serving(by_image(name, f"{REGISTRY}/test/nothing:1"))
    done = small.kube.attempt("apply", "-f", "-", stdin=json.dumps(body))
    assert done.returncode != 0, small.status("serve")
    assert "inference.adapters[0].source.name" in done.stderr
    assert name in done.stderr and "write for example my-adapter" in done.stderr
