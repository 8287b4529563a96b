"""What people write → frozen values, or every mistake with its path."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from pydantic import ValidationError
from rig.manifests import ABSENT, Changes, changed, inference, tuning

from jobs.workspace import V1ALPHA1_INSTANCE_TYPE, Workspace, parse

ALPHA = {"apiVersion": "kaito.sh/v1alpha1"}


def lines(body: object) -> list[str]:
    return [p.line() for p in parse(body)[1]]


def test_every_field_of_a_tuning_workspace_is_read() -> None:
    body = tuning(
        {
            "metadata.namespace": "team",
            "metadata.labels": {"a": "b"},
            "metadata.annotations": {"kaito.sh/enablelb": "True"},
            "resource.count": 1,
            "resource.preferredNodes": ["node-1"],
            "resource.labelSelector.matchExpressions": [
                {"key": "zone", "operator": "In", "values": ["1"]}
            ],
            "tuning.preset.accessMode": "private",
            "tuning.preset.presetOptions": {
                "image": "r.invalid/w:1",
                "imagePullSecrets": ["pull"],
                "modelAccessSecret": "hub",
            },
            "tuning.config": "my-config",
            "tuning.input.name": "rows",
            "tuning.input.imagePullSecrets": ["a", "b"],
            "tuning.output.volumeSource": {"persistentVolumeClaim": {"claimName": "c"}},
        }
    )
    workspace, problems = parse(body)
    assert problems == ()
    assert workspace is not None and workspace.tuning is not None
    assert (workspace.name, workspace.namespace) == ("tune-phi-3", "team")
    assert workspace.labels == {"a": "b"}
    assert workspace.annotations == {"kaito.sh/enablelb": "True"}
    assert workspace.resource.preferred_nodes == ("node-1",)
    assert workspace.resource.label_selector.match_labels == {"app": "tune-phi-3"}
    assert workspace.resource.label_selector.match_expressions[0].values == ("1",)
    preset, source, out = workspace.tuning.preset, workspace.tuning.input, workspace.tuning.output
    assert preset is not None and source is not None and out is not None
    assert preset.access_mode == "private"
    assert preset.options.image == "r.invalid/w:1"
    assert preset.options.image_pull_secrets == ("pull",)
    assert preset.options.model_access_secret == "hub"
    assert workspace.tuning.config == "my-config"
    assert (source.name, source.urls) == ("rows", ("https://data.invalid/train.parquet",))
    assert source.image_pull_secrets == ("a", "b")
    assert out.image_push_secret == "push"
    assert out.volume == {"persistentVolumeClaim": {"claimName": "c"}}


def test_every_field_of_an_inference_workspace_is_read() -> None:
    adapter = {"source": {"name": "a", "volumeSource": {"nfs": {}}}, "strength": "0.5"}
    body = inference(
        {
            "inference.adapters": [adapter],
            "inference.config": "c",
            "resource.partition": {"mode": "mig", "profile": "1g.10gb"},
        }
    )
    workspace, problems = parse(body)
    assert problems == ()
    assert workspace is not None and workspace.inference is not None
    assert workspace.inference.config == "c"
    assert workspace.inference.adapters[0].strength == "0.5"
    assert workspace.resource.partition is not None
    assert workspace.resource.partition.profile == "1g.10gb"


def test_a_pod_template_is_kept_as_written() -> None:
    template = {"spec": {"containers": [{"name": "x", "unknownToUs": [1, {"y": True}]}]}}
    body = inference({"inference.template": template, "inference.preset": ABSENT})
    workspace, problems = parse(body)
    assert problems == ()
    assert workspace is not None and workspace.inference is not None
    assert workspace.inference.template == template


def test_what_the_api_server_adds_is_accepted() -> None:
    body = tuning(
        {
            "metadata.uid": "1",
            "metadata.managedFields": [{"fieldsV1": {"f:metadata": {}}}],
            "metadata.finalizers": ["a/b"],
            "metadata.generation": 3,
            "metadata.creationTimestamp": None,
            "status": {"conditions": [{"type": "ResourceReady"}], "anything": 1},
        }
    )
    assert parse(body)[1] == ()


def test_the_default_instance_type_is_v1alpha1s_only() -> None:
    without = {"resource.instanceType": ABSENT}
    alpha, beta = parse(tuning(without | ALPHA))[0], parse(tuning(without))[0]
    assert alpha is not None and beta is not None
    assert alpha.resource.instance_type == V1ALPHA1_INSTANCE_TYPE
    assert beta.resource.instance_type is None


@pytest.mark.parametrize("body", [tuning(), inference()], ids=["tuning", "inference"])
def test_both_versions_mean_the_same(body: dict[str, Any]) -> None:
    alpha, beta = parse(changed(body, ALPHA))[0], parse(body)[0]
    assert alpha is not None and beta is not None
    assert alpha.model_copy(update={"api_version": beta.api_version}) == beta


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"tuning.preset.presetOptions": {"modelAccessSecret": "x"}},
            "tuning.preset.presetOptions.modelAccessSecret: exists only in kaito.sh/v1beta1; "
            "write apiVersion: kaito.sh/v1beta1",
        ),
        (
            {"resource.partition": {"mode": "mig"}},
            "resource.partition: exists only in kaito.sh/v1beta1; "
            "write apiVersion: kaito.sh/v1beta1",
        ),
    ],
)
def test_fields_that_v1alpha1_drops_are_told(changes: Changes, line: str) -> None:
    assert lines(tuning(changes | ALPHA)) == [line]


def test_absent_null_and_empty_are_one() -> None:
    nothing = {"tuning.config": ABSENT, "tuning.input.name": ABSENT, "inference": ABSENT}
    empty = {"tuning.config": "", "tuning.input.name": None, "inference": None}
    assert parse(tuning(nothing)) == parse(tuning(empty))


def test_parsing_neither_changes_nor_shares_the_body() -> None:
    body = tuning({"tuning.output": {"volumeSource": {"nfs": {"server": "a"}}}} | ALPHA)
    before = copy.deepcopy(body)
    workspace, _ = parse(body)
    assert body == before
    body["tuning"]["output"]["volumeSource"]["nfs"]["server"] = "b"
    assert workspace == parse(before)[0]


def test_a_workspace_is_frozen() -> None:
    workspace, _ = parse(tuning())
    assert workspace is not None
    with pytest.raises(ValidationError):
        workspace.name = "other"


def test_a_workspace_survives_json_and_its_own_spelling() -> None:
    workspace, _ = parse(tuning({"tuning.config": "c"}))
    assert workspace is not None
    assert Workspace.model_validate_json(workspace.model_dump_json()) == workspace
    dumped = json.loads(workspace.model_dump_json(by_alias=True, exclude_none=True))
    metadata = {k: dumped.pop(k) for k in ("name", "namespace", "labels", "annotations")}
    again, problems = parse({**dumped, "kind": "Workspace", "metadata": metadata})
    assert (again, problems) == (workspace, ())
