"""Every mistake in a Workspace's shape is told with its path, its value and its cure."""

from __future__ import annotations

import pytest
from rig.manifests import ABSENT, Changes, tuning

from jobs.workspace import parse


def lines(body: object) -> list[str]:
    return [p.line() for p in parse(body)[1]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tunning": {}}, 'tunning: unknown field; did you mean "tuning"?'),
        ({"tuning.metod": "lora"}, 'tuning.metod: unknown field; did you mean "method"?'),
        (
            {"tuning.input.volume": {}},
            'tuning.input.volume: unknown field; did you mean "volumeSource"?',
        ),
        (
            {"resource.instancetype": "x"},
            'resource.instancetype: unknown field; did you mean "instanceType"?',
        ),
        (
            {"resource.instance_type": "x"},
            'resource.instance_type: unknown field; did you mean "instanceType"?',
        ),
        (
            {"resource.labelSelector.matchLabel": {}},
            'resource.labelSelector.matchLabel: unknown field; did you mean "matchLabels"?',
        ),
        (
            {"metadata.anotations": {}},
            'metadata.anotations: unknown field; did you mean "annotations"?',
        ),
        (
            {"tuning.zzzzz": 1},
            "tuning.zzzzz: unknown field; known here: config, input, method, output, preset",
        ),
        (
            {"tuning.input.urls": "https://a.invalid/x"},
            'tuning.input.urls: must be a list, not "https://a.invalid/x"; '
            'write it as a list: begin the line with "- "',
        ),
        (
            {"tuning.input.urls": [1]},
            'tuning.input.urls[0]: must be text, not 1; put it in quotes: "1"',
        ),
        (
            {"tuning.input.imagePullSecrets": [{"name": "pull"}]},
            "tuning.input.imagePullSecrets[0]: must be text, not a map; "
            'write only the name: "pull"',
        ),
        ({"tuning": []}, "tuning: must be a map of fields, not a list"),
        ({"tuning.preset": "phi-4"}, 'tuning.preset: must be a map of fields, not "phi-4"'),
        ({"tuning.preset": {}}, "tuning.preset.name: is missing; add it"),
        ({"resource.count": True}, "resource.count: must be a whole number, not true"),
        ({"resource.count": "2"}, 'resource.count: must be a whole number, not "2"'),
        ({"resource.count": 0}, "resource.count: must be at least 1, not 0"),
        (
            {"metadata.labels": {"app.kubernetes.io/version": 1.5}},
            "metadata.labels[app.kubernetes.io/version]: must be text, not 1.5; "
            'put it in quotes: "1.5"',
        ),
        ({"metadata.name": ABSENT}, "metadata.name: is missing; add it"),
        (
            {"tuning.preset.accessMode": "secret"},
            "tuning.preset.accessMode: must be 'public' or 'private', not \"secret\"",
        ),
        (
            {"resource": {"instanceType": "Standard_NC24ads_A100_v4"}},
            "resource.labelSelector: is missing; add labelSelector with matchLabels, "
            "for example app: NAME",
        ),
    ],
)
def test_a_mistake_is_told_with_its_path_and_its_cure(changes: Changes, expected: str) -> None:
    assert lines(tuning(changes)) == [expected]


def test_all_mistakes_are_told_at_once() -> None:
    body = tuning({"tuning.metod": 1, "resource.count": "x", "metadata.name": 1, "spek": 2})
    assert {line.split(":")[0] for line in lines(body)} >= {
        "tuning.metod",
        "resource.count",
        "metadata.name",
        "spek",
    }


def test_a_misspelled_field_is_read_as_what_it_means_so_the_rules_see_it() -> None:
    workspace, problems = parse(tuning({"tuning.method": ABSENT, "tuning.metod": "lora"}))
    assert len(problems) == 1 and not problems[0].warning
    assert workspace is not None and workspace.tuning is not None
    assert workspace.tuning.method == "lora"


def test_a_misspelled_field_with_a_wrong_value_is_told_twice() -> None:
    body = tuning({"tuning.input": ABSENT, "tuning.inputs": {"urls": "x"}})
    assert [line.split(";")[0] for line in lines(body)] == [
        "tuning.inputs: unknown field",
        'tuning.input.urls: must be a list, not "x"',
    ]


def test_a_spec_wrapper_is_one_problem_with_the_exact_correction() -> None:
    whole = tuning()
    wrapped = {k: whole[k] for k in ("apiVersion", "kind", "metadata")}
    wrapped["spec"] = {"resource": whole["resource"], "tuning": whole["tuning"]}
    workspace, problems = parse(wrapped)
    assert workspace is None
    assert [p.line() for p in problems] == [
        "spec: a Workspace has no spec: resource and tuning must not be inside it; "
        'delete the line "spec:" and move resource and tuning out of it to the top level, '
        "beside metadata"
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"training_config": {"LoraConfig": {"r": 8}}},
        "training_config:\n  LoraConfig:\n    r: 8\n",
    ],
    ids=["map", "text"],
)
def test_an_inlined_training_configuration_is_sent_to_a_config_map(config: object) -> None:
    assert lines(tuning({"tuning.config": config})) == [
        "tuning.config: the configuration itself is written here, but a Workspace only names it; "
        "put it in a ConfigMap under the key training_config.yaml and write that ConfigMap's name "
        "at tuning.config"
    ]


def test_a_training_configuration_beside_the_method_is_sent_there_too() -> None:
    [line] = lines(tuning({"tuning.training_config": {"LoraConfig": {}}}))
    assert line.startswith("tuning.training_config: the configuration itself is written here")
    assert "at tuning.config" in line


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, "a Workspace is a map of fields, not nothing"),
        ([], "a Workspace is a map of fields, not a list"),
        ({}, "kind: must be Workspace, not nothing"),
        ({"kind": "Deployment"}, 'kind: must be Workspace, not "Deployment"'),
        ({"kind": ["Workspace"]}, "kind: must be Workspace, not a list"),
        ({"kind": "Workspace"}, "apiVersion: must be kaito.sh/v1beta1 or kaito.sh/v1alpha1, not"),
        (
            {"kind": "Workspace", "apiVersion": "kaito.sh/v1"},
            "apiVersion: must be kaito.sh/v1beta1 or kaito.sh/v1alpha1, not",
        ),
    ],
)
def test_another_thing_than_a_workspace_is_named(body: object, expected: str) -> None:
    workspace, problems = parse(body)
    assert workspace is None
    [problem] = problems
    assert problem.line().startswith(expected)
