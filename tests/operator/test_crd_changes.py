"""What may change of a Workspace, and what stays writable: real requests, no webhook."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from rig.kube import Kube
from rig.manifests import ABSENT, Changes, inference, tuning
from rig.refusals import ELEVEN, PARTITION, refusal

from scripts.crd.__main__ import definition

V1ALPHA1, V1BETA1 = "kaito.sh/v1alpha1", "kaito.sh/v1beta1"
Body = dict[str, Any]

NEW = "write it as it was, or make a new Workspace"
IMMUTABLE: dict[str, tuple[Changes, str]] = {
    "method": ({"tuning.method": "lora"}, "tuning.method: Invalid value: Method cannot be changed"),
    "preset": ({"tuning.preset.name": "phi-4"}, "tuning.preset: Invalid value: Preset cannot be"),
    "input name": (
        {"tuning.input.name": "other"},
        "tuning.input.name: Invalid value: During tuning Name field cannot be changed once set",
    ),
    "instance type": (
        {"resource.instanceType": "Standard_NC48ads_A100_v4"},
        'resource.instanceType: Invalid value: "Standard_NC48ads_A100_v4": instanceType cannot be',
    ),
    "labels": (
        {"resource.labelSelector.matchLabels": {"app": "other"}},
        "resource.labelSelector: Invalid value: field is immutable",
    ),
    "more labels": (
        {"resource.labelSelector.matchLabels.more": "x"},
        "resource.labelSelector: Invalid value: field is immutable",
    ),
    "tuning": (
        {"tuning": ABSENT, "inference": {"preset": {"name": "phi-4"}}},
        "tuning: Invalid value: Tuning field cannot be toggled once set",
    ),
}


@pytest.mark.parametrize("version", [V1ALPHA1, V1BETA1])
def test_what_may_not_change(crd: Kube, namespace: Kube, version: str) -> None:
    before = {"apiVersion": version, "tuning.input.name": "data"}
    namespace.apply(tuning(before))
    for changes, told in IMMUTABLE.values():
        said = refusal(namespace, tuning({**before, **changes}), "replace")
        assert told in said and NEW in said


def test_what_may_not_change_of_an_inference(crd: Kube, namespace: Kube) -> None:
    before = {"resource.partition": PARTITION, "resource.count": 2}
    namespace.apply(inference(before))
    template: Body = {"spec": {}}
    for changes, told in (
        ({"resource.count": 1}, "resource.count: Invalid value: 1: field is immutable"),
        ({"resource.partition.count": 3}, "resource.partition: Invalid value: field is immutable"),
        ({"resource.partition": ABSENT}, "resource.partition: Invalid value: field is immutable"),
        ({"inference.preset.name": "phi-4"}, "inference.preset: Invalid value: field is immutable"),
        (
            {"inference.preset": ABSENT, "inference.template": template},
            "inference.template: Invalid value: field cannot be unset/set if it was set/unset",
        ),
    ):
        assert told in refusal(namespace, inference({**before, **changes}), "replace")


def test_what_may_change(crd: Kube, namespace: Kube) -> None:
    namespace.apply(tuning(), inference())
    url = "https://data.invalid/other.parquet"
    for body in (
        tuning({"tuning.method": "QLORA"}),
        tuning({"tuning.input.urls": [url], "tuning.config": "my-config"}),
        tuning({"tuning.input": {"image": "registry.invalid/data:2"}}),
        tuning({"tuning.output.image": "registry.invalid/adapters/phi-3:2"}),
        tuning({"resource.instanceType": ABSENT}),
        tuning({"metadata.annotations": {"a": "b"}, "metadata.labels": {"a": "b"}}),
        inference({"inference.adapters": ELEVEN[:3], "inference.config": "x"}),
        inference({"inference.adapters": ABSENT}),
    ):
        assert refusal(namespace, body, "replace") == ""


def test_a_status_is_written_whichever_version_made_the_object(crd: Kube, namespace: Kube) -> None:
    """KAITO's v1alpha1 has no such fields, and then server-side apply answers 500 for ever."""
    status = {
        "state": "Running",
        "targetNodeCount": 1,
        "observedGeneration": 1,
        "run": {"revision": 2, "hash": "ab", "outcome": ""},
        "attempts": [{"attempt": 1, "pod": "tune-x", "step": 3, "of": 9}],
        "progress": {"step": 3, "of": 9, "percent": 33, "loss": "0.5", "eta": "4m10s"},
        "output": {"digest": "sha256:ab", "sizeBytes": 2**40, "metrics": {"loss": "0.5"}},
        "conditions": [
            {
                "type": "WorkspaceSucceeded",
                "status": "False",
                "reason": "Training",
                "message": "3 of 9 steps",
                "lastTransitionTime": "2026-11-27T10:00:00Z",
                "observedGeneration": 1,
            }
        ],
    }
    for version, name in ((V1ALPHA1, "old"), (V1BETA1, "new")):
        namespace.apply(tuning({"apiVersion": version, "metadata.name": name}))
        patch = {
            "apiVersion": V1BETA1,
            "kind": "Workspace",
            "metadata": {"name": name},
            "status": status,
        }
        apply = ("apply", "--server-side", "--field-manager=tunery", "--subresource=status")
        namespace(*apply, "-f", "-", stdin=json.dumps(patch))
        assert namespace.get("workspace", name)["status"] == status
        assert namespace.get("workspaces.v1alpha1.kaito.sh", name)["status"] == status
    table = namespace("get", "wk", "new").split("\n")
    assert table[0].split()[-3:] == ["PROGRESS", "ETA", "LOSS"]
    assert table[1].split()[-3:] == ["33", "4m10s", "0.5"]
    wide = namespace("get", "wks", "old", "-o", "wide")
    assert "sha256:ab" in wide and "3 of 9 steps" in wide
    assert "workspace.kaito.sh/new" in namespace("get", "workspace", "-o", "name")


def test_what_was_stored_before_the_rules_stays_writable(crd: Kube, namespace: Kube) -> None:
    """In a group of its own, so that nobody else meets a CRD without rules."""
    bare, ruled = _in_group("old.tunery.test", rules=False), _in_group("old.tunery.test")
    crd("apply", "-f", "-", stdin=json.dumps(bare))
    crd.wait("crd/workspaces.old.tunery.test", "condition=Established")
    body = tuning(
        {
            "apiVersion": "old.tunery.test/v1beta1",
            "metadata.name": "a.b",
            "tuning.method": "dora",
            "tuning.output.imagePushSecret": ABSENT,
            "resource.count": 2,
            "inference": {},
        }
    )
    try:
        namespace.apply(body)
        crd("apply", "-f", "-", stdin=json.dumps(ruled))
        _until_refused(namespace, {**body, "metadata": {"name": "another"}})
        what, name = "workspaces.old.tunery.test", "a.b"
        namespace("annotate", what, name, "a=b")
        status = json.dumps({"status": {"state": "Failed"}})
        namespace("patch", what, name, "--subresource=status", "--type=merge", "-p", status)
        patch = json.dumps({"tuning": {"input": {"urls": ["https://data.invalid/other"]}}})
        done = namespace.attempt("patch", what, name, "--type=merge", "-p", patch)
        assert "tuning.method: Invalid value" in done.stderr
        # A part that is left as it was is only warned of.
        assert "Warning: tuning.output.imagePushSecret: Required value" in done.stderr
    finally:
        crd("delete", "crd", "workspaces.old.tunery.test", "--wait=false")


def _in_group(group: str, rules: bool = True) -> Body:
    made = definition()
    spec = made["spec"]
    made["metadata"] = {"name": f"workspaces.{group}"}
    spec["group"] = group
    spec["names"] = {
        k: v for k, v in spec["names"].items() if k not in ("shortNames", "categories")
    }
    return made if rules else _without_rules(made)


def _without_rules(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_rules(v) for k, v in value.items() if k != "x-kubernetes-validations"}
    return [_without_rules(v) for v in value] if isinstance(value, list) else value


def _until_refused(kube: Kube, body: Body) -> None:
    """The API server takes a moment to serve a changed schema, and nothing tells when."""
    deadline_s = time.monotonic() + 20
    while not refusal(kube, body):
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
