"""What the API server refuses by itself: real requests, no webhook."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig.kube import Kube
from rig.manifests import ABSENT, Changes, inference, tuning
from rig.refusals import ELEVEN, PARTITION, refusal

V1ALPHA1, V1BETA1 = "kaito.sh/v1alpha1", "kaito.sh/v1beta1"
EXAMPLES = Path(__file__).parents[1] / "jobs" / "data"
Body = dict[str, Any]


@pytest.fixture(scope="module")
def space(crd: Kube) -> Iterator[Kube]:
    """A namespace for requests that only pretend."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    crd("create", "namespace", name)
    yield crd.within(name)
    crd("delete", "namespace", name, "--wait=false")


TUNING: dict[str, tuple[Changes, str]] = {
    "neither": (
        {"tuning": ABSENT},
        "tuning: Required value: Either Inference or Tuning must be specified, not neither; add",
    ),
    "both": (
        {"inference": {"preset": {"name": "phi-4"}}},
        "inference: Invalid value: Either Inference or Tuning must be specified, but not both",
    ),
    "a name with a dot": (
        {"metadata.name": "tune.phi"},
        "metadata: Invalid value: name must be an RFC 1123 label",
    ),
    "a name of 64 letters": (
        {"metadata.name": "a" * 64},
        "metadata: Invalid value: name must be an RFC 1123 label",
    ),
    "no selector": ({"resource.labelSelector": ABSENT}, "resource.labelSelector: Required value"),
    "two nodes": (
        {"resource.count": 2},
        "resource.count: Invalid value: Tuning does not currently support multinode",
    ),
    "no node": ({"resource.count": 0}, "resource.count: Invalid value: 0"),
    "half a node": ({"resource.count": 1.5}, "resource.count: Invalid value"),
    "no method": ({"tuning.method": ABSENT}, "tuning.method: Invalid value: must be lora or qlora"),
    "empty method": ({"tuning.method": ""}, "tuning.method: Invalid value: must be lora or qlora"),
    "another method": (
        {"tuning.method": "dora"},
        "tuning.method: Invalid value: must be lora or qlora; for example method: qlora",
    ),
    "no preset": ({"tuning.preset": ABSENT}, "tuning.preset: Required value: name the model"),
    "a nameless preset": ({"tuning.preset": {}}, "tuning.preset.name: Required value"),
    "an access mode": (
        {"tuning.preset.accessMode": "secret"},
        'tuning.preset.accessMode: Unsupported value: "secret"',
    ),
    "no input": ({"tuning.input": ABSENT}, "tuning.input: Required value"),
    "no output": ({"tuning.output": ABSENT}, "tuning.output: Required value"),
    "no source": (
        {"tuning.input": {}},
        "tuning.input: Invalid value: Exactly one of URLs, Volume, or Image must be specified; "
        "keep one of urls, volumeSource and image",
    ),
    "empty sources": (
        {"tuning.input": {"urls": [], "image": ""}},
        "tuning.input: Invalid value: Exactly one of URLs, Volume, or Image must be specified",
    ),
    "two sources": (
        {"tuning.input.image": "registry.invalid/data:1"},
        "tuning.input: Invalid value: Exactly one of URLs, Volume, or Image must be specified",
    ),
    "three sources": (
        {"tuning.input.image": "registry.invalid/data:1", "tuning.input.volumeSource": {"a": {}}},
        "tuning.input: Invalid value: Exactly one of URLs, Volume, or Image must be specified",
    ),
    "a volume that is a text": (
        {"tuning.input": {"volumeSource": "pvc"}},
        "tuning.input.volumeSource: Invalid value",
    ),
    "no destination": (
        {"tuning.output": {"imagePushSecret": "push"}},
        "tuning.output: Invalid value: Exactly one of Volume or Image must be specified",
    ),
    "two destinations": (
        {"tuning.output.volumeSource": {"persistentVolumeClaim": {"claimName": "x"}}},
        "tuning.output: Invalid value: Exactly one of Volume or Image must be specified",
    ),
    "no push secret": (
        {"tuning.output.imagePushSecret": ABSENT},
        "tuning.output.imagePushSecret: Required value: Must specify imagePushSecret with",
    ),
    "an empty push secret": (
        {"tuning.output.imagePushSecret": ""},
        "tuning.output.imagePushSecret: Required value: Must specify imagePushSecret with",
    ),
}
INFERENCE: dict[str, tuple[Changes, str]] = {
    "neither preset nor template": (
        {"inference.preset": ABSENT},
        "inference: Required value: Preset or Template must be specified; name a model",
    ),
    "preset and template": (
        {"inference.template": {"spec": {}}},
        "inference: Invalid value: Preset and Template cannot be set at the same time",
    ),
    "eleven adapters": (
        {"inference.adapters": ELEVEN},
        "inference.adapters: Invalid value: Number of Adapters exceeds the maximum limit",
    ),
}
PARTITIONS: dict[str, tuple[Changes, str]] = {
    "a mode": ({"resource.partition": {"mode": "x"}}, "resource.partition.mode: Unsupported value"),
    "no mode": ({"resource.partition": {}}, "resource.partition.mode: Required value"),
    "no cards": (
        {"resource.partition": {"mode": "accelerator", "count": 0}},
        "resource.partition.count: Invalid value: 0",
    ),
    "no count": (
        {"resource.partition": {"mode": "accelerator"}},
        "resource.partition.count: Required value: accelerator mode needs count",
    ),
    "a count of slices": (
        {"resource.partition": {"mode": "mig", "count": 1}},
        "resource.partition.count: Invalid value: count is only valid for accelerator mode",
    ),
    "a profile of whole cards": (
        {"resource.partition": {**PARTITION, "profile": "1g.10gb"}},
        "resource.partition.profile: Invalid value: profile is not valid for accelerator mode",
    ),
}


@pytest.mark.parametrize("version", [V1ALPHA1, V1BETA1])
@pytest.mark.parametrize("changes, told", TUNING.values(), ids=list(TUNING))
def test_tuning_is_refused(space: Kube, version: str, changes: Changes, told: str) -> None:
    assert told in refusal(space, tuning({"apiVersion": version, **changes}))


@pytest.mark.parametrize("version", [V1ALPHA1, V1BETA1])
@pytest.mark.parametrize("changes, told", INFERENCE.values(), ids=list(INFERENCE))
def test_inference_is_refused(space: Kube, version: str, changes: Changes, told: str) -> None:
    assert told in refusal(space, inference({"apiVersion": version, **changes}))


@pytest.mark.parametrize("changes, told", PARTITIONS.values(), ids=list(PARTITIONS))
def test_a_partition_is_refused(space: Kube, changes: Changes, told: str) -> None:
    assert told in refusal(space, inference(changes))


def test_a_share_of_a_node_is_not_for_tuning(space: Kube) -> None:
    told = "resource.partition: Invalid value: GPU partitioning is not supported for tuning"
    assert told in refusal(space, tuning({"resource.partition": PARTITION}))


def test_all_problems_are_told_at_once(space: Kube) -> None:
    changes = {"tuning.method": "x", "tuning.input": {}, "tuning.output.imagePushSecret": ABSENT}
    told = refusal(space, tuning({**changes, "resource.count": 2}))
    assert told.count("\n* ") == 4


VALID: dict[str, Body] = {
    "urls": tuning(),
    "method in capitals": tuning({"tuning.method": "QLoRA"}),
    "an empty list beside an image": tuning(
        {"tuning.input": {"urls": [], "image": "registry.invalid/data:1"}}
    ),
    "nothing said by null": tuning(
        {"tuning.input.volumeSource": None, "tuning.output.volumeSource": None}
    ),
    "volumes": tuning(
        {
            "tuning.input": {"volumeSource": {"persistentVolumeClaim": {"claimName": "in"}}},
            "tuning.output": {"volumeSource": {"persistentVolumeClaim": {"claimName": "out"}}},
        }
    ),
    "many URLs": tuning({"tuning.input.urls": [f"https://data.invalid/{n}" for n in range(2000)]}),
    "a selector at length": tuning(
        {
            "resource.labelSelector": {
                "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]
            }
        }
    ),
    "the default config by name": tuning({"tuning.config": "lora-params-template"}),
    "adapters": inference(),
    "ten adapters": inference({"inference.adapters": ELEVEN[:10]}),
    "many nodes": inference({"resource.count": 3}),
    "a template": inference(
        {
            "inference.preset": ABSENT,
            "inference.adapters": ABSENT,
            "inference.template": {"spec": {"containers": [{"name": "x", "image": "y"}]}},
        }
    ),
}


@pytest.mark.parametrize("version", [V1ALPHA1, V1BETA1])
@pytest.mark.parametrize("body", VALID.values(), ids=list(VALID))
def test_what_is_right_is_taken(space: Kube, version: str, body: Body) -> None:
    assert refusal(space, {**body, "apiVersion": version}) == ""


def test_a_partition_is_taken(space: Kube) -> None:
    for partition in (PARTITION, {"mode": "mig", "profile": "1g.10gb"}):
        assert refusal(space, inference({"resource.partition": partition})) == ""


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*phi_3*.yaml")), ids=lambda f: f.stem)
def test_the_public_examples_are_taken(space: Kube, file: Path) -> None:
    for body in yaml.safe_load_all(file.read_text("utf-8")):
        if body["kind"] == "Workspace":
            assert refusal(space, body) == ""
