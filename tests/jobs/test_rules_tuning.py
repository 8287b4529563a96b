"""A new tuning Workspace: KAITO's rules, and what KAITO accepts and then dies of.

The cases marked with a Go test's name are those of KAITO's workspace_validation_test.go.
"""

from __future__ import annotations

from typing import Any

import pytest
from rig.manifests import ABSENT, Changes, Judge, tuning

PVC = {"persistentVolumeClaim": {"claimName": "claim"}}


def lines(problems: Any) -> list[str]:
    return [p.line() for p in problems]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tuning.method": "lora"},
        {"tuning.method": "QLoRA"},  # KAITO accepts it and then finds no default (B9)
        {"tuning.preset.name": "microsoft/Phi-3-mini-128k-instruct"},
        {"tuning.preset.name": "some-org/some-model"},
        {"tuning.preset.name": "PHI-4"},
        {"resource.instanceType": "standard_nc24ads_a100_v4"},
        {"resource.instanceType": "Standard_NC6s_v3"},
        {"tuning.input": {"volumeSource": PVC}},
        {"tuning.input": {"image": "data-image:latest", "imagePullSecrets": ["pull"]}},
        {"tuning.input": {"image": "registry.invalid/data-image"}},
        {"tuning.input.urls": ["http://example.com/data", "https://example.com/more"]},
        {"tuning.output": {"volumeSource": PVC}},
        {"tuning.output": {"image": "adapter:latest", "imagePushSecret": "push"}},
        {"tuning.output": {"volumeSource": {"nfs": {"server": "a", "path": "/"}}}},
    ],
)
def test_what_is_right_passes(create: Judge, changes: Changes) -> None:
    assert lines(create(tuning(changes))) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"metadata.name": "Phi_3"},
            "metadata.name: a lowercase RFC 1123 label must consist of lower case alphanumeric",
        ),
        ({"metadata.name": "a" * 64}, "metadata.name: must be no more than 63 bytes"),
        ({"metadata.name": "a.b"}, "metadata.name: a lowercase RFC 1123 label must"),
        (
            {"tuning.method": "invalid-method"},
            'tuning.method: "invalid-method" is not a tuning method; write lora or qlora',
        ),
        (
            {"tuning.method": "qlorra"},
            'tuning.method: "qlorra" is not a tuning method; did you mean "qlora"?',
        ),
        ({"tuning.method": ABSENT}, "tuning.method: is missing; write lora or qlora"),
        ({"tuning.input": ABSENT}, "tuning.input: is missing"),
        ({"tuning.output": ABSENT}, "tuning.output: is missing"),
        ({"tuning.preset": ABSENT}, "tuning.preset: is missing"),
        (
            {"tuning.preset.name": "phi-3-mini-128k-instrct"},
            "tuning.preset.name: Unsupported tuning preset name phi-3-mini-128k-instrct; "
            'did you mean "phi-3-mini-128k-instruct"?',
        ),
        (
            {"tuning.preset.name": "zzz"},
            "tuning.preset.name: Unsupported tuning preset name zzz; name a preset or a",
        ),
        (
            {"tuning.preset.name": "gpt-oss-20b"},
            "tuning.preset.name: gpt-oss-20b cannot be tuned: its experts are stored in",
        ),
        (
            {"resource.count": 2},
            "resource.count: Tuning does not currently support multinode configurations.",
        ),
        (
            {"resource.partition": {"mode": "mig", "profile": "1g.10gb"}},
            "resource.partition: GPU partitioning is not supported for tuning workloads",
        ),
        (
            {"resource.instanceType": ABSENT},
            "resource.instanceType: instanceType is required when node auto-provisioning",
        ),
        (
            {"resource.instanceType": "Standard_NC24ads_A100"},
            "resource.instanceType: Unsupported instance type Standard_NC24ads_A100; "
            'did you mean "Standard_NC24ads_A100_v4"? or list it in',
        ),
        (
            {"resource.instanceType": "Standard_Nxx"},
            "resource.instanceType: Unsupported instance type Standard_Nxx; ",
        ),
        (
            {"resource.instanceType": "Standard_NG32ads_V620_v1"},
            "resource.instanceType: Standard_NG32ads_V620_v1 has AMD Radeon PRO V620, and tuning",
        ),
        (
            {"resource.labelSelector": {"matchLabels": {"kaito.sh/workspace": "other"}}},
            "resource.labelSelector.matchLabels: matchLabels must contain at least one",
        ),
    ],
)
def test_what_is_wrong_is_told(create: Judge, changes: Changes, expected: str) -> None:
    refused = [p for p in create(tuning(changes)) if not p.warning]
    assert len(refused) == 1
    assert refused[0].line().startswith(expected)


def test_a_workspace_does_one_thing(create: Judge) -> None:
    neither = create(tuning({"tuning": ABSENT}))
    both = create(tuning({"inference": {"preset": {"name": "phi-4"}}}))
    assert "Either Inference or Tuning must be specified, not neither" in neither[0].line()
    assert "Either Inference or Tuning must be specified, but not both" in both[0].line()


def test_all_problems_come_at_once(create: Judge) -> None:
    body = tuning(
        {
            "metadata.name": "A",
            "resource.count": 3,
            "resource.instanceType": "x1",
            "tuning": {"method": "x", "preset": {"name": "y"}, "input": {}, "output": {}},
        }
    )
    assert [p.path for p in create(body)] == [
        "metadata.name",
        "resource.count",
        "resource.instanceType",
        "tuning.method",
        "tuning.preset.name",
        "tuning.input",
        "tuning.output",
    ]


def test_a_gated_model_needs_a_token_for_tuning_too(create: Judge) -> None:
    name = {"tuning.preset.name": "meta-llama/Llama-3.1-8B-Instruct"}
    [problem] = create(tuning(name))
    assert problem.path == "tuning.preset"
    assert problem.what.startswith("This preset requires authentication and needs a modelAccess")
    assert "tuning.preset.presetOptions.modelAccessSecret" in problem.do
    secret = {"tuning.preset.presetOptions": {"modelAccessSecret": "hub"}}
    assert create(tuning(name | secret)) == ()
    image = {"tuning.preset.presetOptions": {"image": "registry.invalid/llama:1"}}
    assert create(tuning(name | image)) == ()


def test_v1alpha1_is_told_that_the_token_needs_v1beta1(create: Judge) -> None:
    body = tuning({"tuning.preset.name": "meta-llama/Llama-3.1-8B-Instruct"})
    [problem] = create({**body, "apiVersion": "kaito.sh/v1alpha1"})
    assert "apiVersion: kaito.sh/v1beta1" in problem.do


class TestOwnNodes:
    """Node auto-provisioning is disabled (KAITO's BYO)."""

    def test_an_instance_type_must_be_left_out(self, create: Judge) -> None:
        [problem] = create(tuning(), auto_provisioning=False)
        assert problem.what == (
            "instanceType must be empty when node auto-provisioning is disabled (BYO scenario)"
        )

    def test_without_one_it_is_right(self, create: Judge) -> None:
        """KAITO cannot tune there at all (B8)."""
        assert create(tuning({"resource.instanceType": ABSENT}), auto_provisioning=False) == ()

    def test_the_default_of_v1alpha1_is_nobodys_mistake(self, create: Judge) -> None:
        body = tuning({"resource.instanceType": ABSENT, "apiVersion": "kaito.sh/v1alpha1"})
        assert create(body, auto_provisioning=False) == ()


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("tuning.output.image", "ACR_REPO_HERE.azurecr.io/IMAGE_NAME_HERE:0.0.1", "ACR_REPO_HERE"),
        ("tuning.output.image", "${REGISTRY}/a:1", "${REGISTRY}"),
        ("tuning.output.image", "$(REGISTRY)/a:1", "$(REGISTRY)"),
        ("tuning.output.image", "{{ .Values.image }}", "{{ .Values.image }}"),
        ("tuning.output.image", "<registry>/a:1", "<registry>"),
        ("tuning.output.imagePushSecret", "YOUR_SECRET", "YOUR_SECRET"),
        ("tuning.config", "YOUR-CONFIG", "YOUR-CONFIG"),
        ("resource.instanceType", "<instance type>", "<instance type>"),
        ("tuning.preset.name", "<org>/model", "<org>"),
    ],
)
def test_a_placeholder_is_the_only_thing_told_of_its_value(
    create: Judge, path: str, value: str, found: str
) -> None:
    [problem] = create(tuning({path: value}))
    assert problem.line() == (
        f'{path}: "{found}" is a placeholder from an example; write your own value'
    )


@pytest.mark.parametrize(
    "value", ["registry.invalid/here:1", "yours.invalid/your-model:v1", "a.invalid/b_here:WHERE"]
)
def test_ordinary_words_are_no_placeholders(create: Judge, value: str) -> None:
    assert create(tuning({"tuning.output.image": value})) == ()


@pytest.mark.parametrize(
    ("annotation", "value", "text", "warning"),
    [
        ("performance-mode", "fast", '"fast" is not a valid performance mode; choose one', False),
        ("use-local-weights", "True", '"True" must be "true" or "false"', False),
        ("node-image-family", "windows", 'unsupported node image family "windows", supp', False),
        ("runtime", "vLLM", '"vLLM" is no runtime, so vllm is used', True),
        ("enablelb", "true", '"true" is ignored: only the exact text True counts', True),
    ],
)
def test_annotations_are_checked(
    create: Judge, annotation: str, value: str, text: str, warning: bool
) -> None:
    [problem] = create(tuning({"metadata.annotations": {f"kaito.sh/{annotation}": value}}))
    assert problem.path == f"metadata.annotations[kaito.sh/{annotation}]"
    assert problem.what.startswith(text)
    assert problem.warning is warning


@pytest.mark.parametrize(
    ("name", "do"),
    [
        ("tunery.sh/live-adapter", 'did you mean "live-adapters"?'),
        ("tunery.sh/Retry", 'did you mean "retry"?'),
        ("tunery.sh/share_with", 'did you mean "share-with"?'),
        ("tunery.sh/digest", "see docs/status.md"),
        ("tunery.sh/" + "x" * 5000, "see docs/status.md"),
        ("kaito.sh/run-time", 'did you mean "runtime"?'),
    ],
)
def test_annotations_that_mean_nothing_are_told_with_the_nearest(
    create: Judge, name: str, do: str
) -> None:
    [problem] = create(tuning({"metadata.annotations": {name: "true"}}))
    assert problem.path == f"metadata.annotations[{name}]"
    assert (problem.do, problem.warning) == (do, True)


@pytest.mark.parametrize(
    "name",
    [
        "tunery.sh/retry",
        "tunery.sh/share-with",
        "tunery.sh/spec",
        "kaito.sh/bypass-resource-checks",
        "kaito.sh/something-of-kaitos-own",
        "workspace.kaito.io/revision",
        "example.com/live-adapter",
    ],
)
def test_annotations_of_ours_and_of_others_are_no_mistakes(create: Judge, name: str) -> None:
    assert create(tuning({"metadata.annotations": {name: "x"}})) == ()


def test_node_classes_are_checked_where_they_are_known(create: Judge) -> None:
    body = tuning({"metadata.annotations": {"kaito.sh/node-class-name": "fast"}})
    assert create(body) == ()
    assert create(body, node_classes=("fast",)) == ()
    [problem] = create(body, node_classes=("default", "big"))
    assert problem.what == (
        '"fast" is not a KAITO-managed NodeClass, supported values are [default big]'
    )
