"""What may change, what may not, and that contents are judged again."""

from __future__ import annotations

from typing import Any

import pytest
from rig.manifests import ABSENT, Changes, Judge, inference, tuning

PVC = {"persistentVolumeClaim": {"claimName": "claim"}}
TEMPLATE = {"inference.preset": ABSENT, "inference.template": {"spec": {}}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"metadata.labels": {"a": "b"}},
        {"metadata.annotations": {"workspace.kaito.io/revision": "2"}},
        {"tuning.input.urls": ["https://other.invalid/b.parquet"]},
        {"tuning.input": {"volumeSource": PVC}},
        {"tuning.output.image": "registry.invalid/adapters/phi-3:2"},
        {"tuning.output": {"volumeSource": PVC}},
        {"tuning.method": "QLORA"},
        {
            "resource.labelSelector": {
                "matchExpressions": [{"key": "app", "operator": "In", "values": ["tune-phi-3"]}]
            }
        },
        {"resource.preferredNodes": ["node-1"]},
    ],
)
def test_what_may_change_in_tuning(update: Judge, changes: Changes) -> None:
    assert update(tuning(), tuning(changes)) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"inference.adapters": []},
        {"inference.adapters": [{"source": {"name": "other", "volumeSource": PVC}}]},
        {"metadata.annotations": {"kaito.sh/runtime": "transformers"}},
    ],
)
def test_what_may_change_in_inference(update: Judge, changes: Changes) -> None:
    assert update(inference(), inference(changes)) == ()


def test_a_new_annotation_that_means_nothing_is_told_and_an_old_one_not_again(
    update: Judge,
) -> None:
    wrong = tuning({"metadata.annotations": {"tunery.sh/retri": "1"}})
    [problem] = update(tuning(), wrong)
    assert problem.warning and 'did you mean "retry"?' in problem.do
    assert update(wrong, {**wrong, "metadata": {**wrong["metadata"], "labels": {"a": "b"}}}) == ()


def test_a_template_may_change_but_not_come_or_go(update: Judge) -> None:
    old, new = inference(TEMPLATE), inference(TEMPLATE)
    new["inference"]["template"] = {"spec": {"containers": []}}
    assert update(old, new) == ()
    problems = update(old, inference())
    assert [p.kaito() for p in problems] == [
        "field is immutable: inference.preset",
        "field cannot be unset/set if it was set/unset: inference.template",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning.preset.name": "phi-4"}, "Preset cannot be changed: tuning.preset"),
        (
            {"tuning.preset.presetOptions": {"modelAccessSecret": "x"}},
            "Preset cannot be changed: tuning.preset",
        ),
        ({"tuning.method": "lora"}, "Method cannot be changed: tuning.method"),
        (
            {"tuning.input.name": "other"},
            "invalid value: During tuning Name field cannot be changed once set: tuning.input.name",
        ),
        ({"resource.count": 2}, "field is immutable: resource.count"),
        (
            {"resource.partition": {"mode": "mig"}},
            "field is immutable: resource.partition",
        ),
        (
            {"resource.instanceType": "Standard_NC48ads_A100_v4"},
            "instanceType cannot be changed once set when node auto-provisioning is enabled: "
            "resource.instanceType",
        ),
        (
            {"resource.instanceType": ABSENT},
            "missing field(s): resource.instanceType.instanceType is required when node "
            "auto-provisioning is enabled",
        ),
        (
            {"resource.labelSelector": {"matchLabels": {"app": "other"}}},
            "field is immutable: resource.labelSelector",
        ),
        ({"resource.labelSelector": {}}, "field is immutable: resource.labelSelector"),
        (
            {"resource.labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
            "Only allow matchLabels or 'IN' matchExpression: resource.labelSelector",
        ),
    ],
)
def test_what_may_not_change(update: Judge, changes: Changes, message: str) -> None:
    assert [p.kaito() for p in update(tuning(), tuning(changes))] == [message]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (inference({"inference": ABSENT}), inference(), "Inference field cannot be toggled"),
        (inference(), inference({"inference": ABSENT}), "Inference field cannot be toggled"),
        (tuning({"tuning": ABSENT}), tuning(), "Tuning field cannot be toggled once set"),
        (tuning(), tuning({"tuning": ABSENT}), "Tuning field cannot be toggled once set"),
    ],
)
def test_a_workspace_keeps_its_purpose(
    update: Judge, old: dict[str, Any], new: dict[str, Any], message: str
) -> None:
    assert [p.what[: len(message)] for p in update(old, new)] == [message]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"tuning.input": {}}, "tuning.input"),
        ({"tuning.input": ABSENT}, "tuning.input"),
        ({"tuning.output": ABSENT}, "tuning.output"),
        ({"tuning.input.urls": ["http://10.0.0.1/a"]}, "tuning.input.urls[0]"),
        ({"tuning.input": {"image": "!ValidImage"}}, "tuning.input.image"),
        (
            {"tuning.output.image": "!ValidImage"},
            "tuning.output.image",
        ),
        ({"tuning.output.imagePushSecret": ABSENT}, "tuning.output"),
        ({"tuning.config": "not-there"}, "tuning.config"),
        ({"tuning.output.image": "ACR_REPO_HERE/a:1"}, "tuning.output.image"),
        (
            {"tuning.output": {"volumeSource": {}}},
            "tuning.output.volumeSource",
        ),
    ],
)
def test_contents_are_judged_on_update_too(update: Judge, changes: Changes, path: str) -> None:
    """KAITO checks hardly any of it: a URL to the metadata endpoint passes as an update."""
    assert [p.path for p in update(tuning(), tuning(changes))] == [path]


def test_adapters_are_judged_on_update_too(update: Judge) -> None:
    changes = {"inference.adapters": [{"source": {"name": "A"}}]}
    assert [p.path for p in update(inference(), inference(changes))] == [
        "inference.adapters[0].source",
        "inference.adapters[0].source.name",
    ]


def test_an_edited_config_map_is_judged_with_the_next_change(update: Judge) -> None:
    maps = {("default", "mine"): {"training_config.yaml": "training_config: {Lora: {}}"}}
    old = tuning({"tuning.config": "mine"})
    new = tuning({"tuning.config": "mine", "tuning.input.urls": ["https://b.invalid/b"]})
    problems = update(old, new, config_maps=maps)
    assert problems and problems[0].path.startswith("tuning.config (ConfigMap mine)")


@pytest.mark.parametrize(
    "metadata",
    [
        {"metadata.finalizers": []},
        {"metadata.labels": {"x": "y"}},
        {"metadata.annotations": {"workspace.kaito.io/hash": "abc"}},
    ],
)
def test_a_workspace_that_is_no_longer_right_can_still_be_let_go(
    update: Judge, metadata: Changes
) -> None:
    """Removing a finalizer is an update: refusing it would keep the object for ever."""
    wrong = {"tuning.config": "deleted-since", "tuning.output.imagePushSecret": ABSENT}
    assert update(tuning(wrong), tuning(wrong | metadata)) == ()


class TestOwnNodes:
    """Node auto-provisioning is disabled: instance types go away, and never come back."""

    @pytest.mark.parametrize(
        ("before", "after", "message"),
        [
            ("Standard_NC6s_v3", ABSENT, None),
            ("Standard_NC6s_v3", "Standard_NC6s_v3", None),
            (ABSENT, ABSENT, None),
            (
                "Standard_NC6s_v3",
                "Standard_NC12s_v3",
                "invalid value: instanceType cannot be changed once set: resource.instanceType",
            ),
            (
                ABSENT,
                "Standard_NC6s_v3",
                "invalid value: instanceType must be empty when node auto-provisioning is "
                "disabled (BYO scenario): resource.instanceType",
            ),
        ],
    )
    def test_instance_type(
        self, update: Judge, before: object, after: object, message: str | None
    ) -> None:
        new = {"resource.instanceType": after, "tuning.input.urls": ["https://b.invalid/b"]}
        problems = update(
            tuning({"resource.instanceType": before}), tuning(new), auto_provisioning=False
        )
        assert [p.kaito() for p in problems] == ([message] if message else [])
