"""KAITO's own sentences come out as its users' scripts know them (kaito v0.12, admission).

Only the paths differ: theirs are names of Go fields, ours are the user's own spelling.
"""

from __future__ import annotations

import pytest
from rig.manifests import ABSENT, Changes, Judge, inference, tuning

PVC = {"persistentVolumeClaim": {"claimName": "c"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning": ABSENT}, "Either Inference or Tuning must be specified, not neither"),
        (
            {"inference": {"preset": {"name": "phi-4"}}},
            "Either Inference or Tuning must be specified, but not both",
        ),
        (
            {"resource.instanceType": ABSENT},
            "missing field(s): resource.instanceType.instanceType is required when node "
            "auto-provisioning is enabled",
        ),
        (
            {"resource.count": 2},
            "invalid value: Tuning does not currently support multinode configurations. Please "
            "set the node count to 1. Future support with DeepSpeed will allow this.: "
            "resource.count",
        ),
        (
            {"resource.partition": {"mode": "mig"}},
            "invalid value: GPU partitioning is not supported for tuning workloads: "
            "resource.partition",
        ),
        (
            {"tuning.config": "c"},
            "ConfigMap 'c' specified in 'config' not found in namespace 'default': tuning.config",
        ),
        ({"tuning.input": ABSENT}, "missing field(s): tuning.input"),
        ({"tuning.output": ABSENT}, "missing field(s): tuning.output"),
        ({"tuning.preset": ABSENT}, "missing field(s): tuning.preset"),
        (
            {"tuning.preset.name": "invalid-preset"},
            "invalid value: Unsupported tuning preset name invalid-preset: tuning.preset.name",
        ),
        (
            {"tuning.input": {}},
            "Exactly one of URLs, Volume, or Image must be specified: tuning.input",
        ),
        (
            {"tuning.output": {}},
            "missing field(s): tuning.output.Exactly one of Volume or Image must be specified",
        ),
        (
            {"tuning.output.imagePushSecret": ABSENT},
            "missing field(s): tuning.output.Must specify imagePushSecret with destination image",
        ),
        (
            {"tuning.input.urls": ["nothing"]},
            "invalid value: invalid data source URL: tuning.input.urls[0]",
        ),
        (
            {"tuning.input.urls": ["ftp://a.invalid/x"]},
            "invalid value: data source URL must use HTTP or HTTPS: tuning.input.urls[0]",
        ),
        (
            {"tuning.input.urls": ["http://localhost/x"]},
            "invalid value: data source URL must not target a local or metadata endpoint: "
            "tuning.input.urls[0]",
        ),
        (
            {"tuning.input.urls": ["http://10.0.0.1/x"]},
            "invalid value: data source URL must not target a loopback, private, or link-local "
            "address: tuning.input.urls[0]",
        ),
        (
            {"metadata.annotations": {"kaito.sh/performance-mode": "x"}},
            'invalid value: "x" is not a valid performance mode; choose one of: balanced, '
            "interactivity, throughput: metadata.annotations[kaito.sh/performance-mode]",
        ),
        (
            {"metadata.annotations": {"kaito.sh/use-local-weights": "x"}},
            'invalid value: "x" must be "true" or "false": '
            "metadata.annotations[kaito.sh/use-local-weights]",
        ),
        (
            {"metadata.annotations": {"kaito.sh/node-image-family": "x"}},
            'invalid value: unsupported node image family "x", supported values are azurelinux, '
            "ubuntu: metadata.annotations[kaito.sh/node-image-family]",
        ),
    ],
)
def test_tuning(create: Judge, changes: Changes, message: str) -> None:
    assert [p.kaito() for p in create(tuning(changes))] == [message]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"inference.preset": ABSENT},
            "missing field(s): inference.Preset or Template must be specified",
        ),
        (
            {"inference.template": {}},
            "Preset and Template cannot be set at the same time: inference",
        ),
        (
            {"inference.preset.name": "x"},
            "invalid value: Unsupported inference preset name x: inference.preset.name",
        ),
        (
            {"inference.adapters": [{"source": {"image": "b"}}]},
            "missing field(s): inference.adapters[0].source.Name of Adapter field must be "
            "specified",
        ),
        (
            {"inference.adapters": [{"source": {"name": "a"}}]},
            "Either Image or Volume must be specified for adapter source: "
            "inference.adapters[0].source",
        ),
        (
            {"inference.adapters": [{"source": {"name": "a", "urls": ["x"]}}]},
            "URLs are not supported as adapter source: inference.adapters[0].source.urls",
        ),
        (
            {"inference.adapters": [{"source": {"name": "a", "image": "b"}}] * 2},
            "Duplicate adapter source name found: a: inference.adapters",
        ),
        (
            {
                "inference.adapters": [
                    {"source": {"name": f"a{i}", "image": "b"}} for i in range(11)
                ]
            },
            "Number of Adapters exceeds the maximum limit, maximum of 10 allowed: "
            "inference.adapters",
        ),
        (
            {"resource.labelSelector": {"matchLabels": {"kaito.sh/workspace": "a"}}},
            "invalid value: matchLabels must contain at least one non-reserved label: "
            "resource.labelSelector.matchLabels",
        ),
        (
            {"resource.partition": {"mode": "mig"}},
            "GPU partitioning is only supported with BYO nodes "
            "(disableNodeAutoProvisioning=true): resource.partition",
        ),
    ],
)
def test_inference(create: Judge, changes: Changes, message: str) -> None:
    refused = [p for p in create(inference(changes)) if not p.warning]
    assert [p.kaito() for p in refused] == [message]


def test_every_rule_says_what_to_do_in_the_users_line(create: Judge) -> None:
    body = tuning({"tuning": {}, "resource": {"labelSelector": {}}, "metadata.name": "A"})
    for problem in create(body):
        assert problem.do
        assert problem.line().endswith(problem.do)
