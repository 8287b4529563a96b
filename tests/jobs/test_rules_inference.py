"""A new inference Workspace: KAITO's rules, with the adapters' own on create too."""

from __future__ import annotations

from typing import Any

import pytest
from rig.manifests import ABSENT, Changes, Judge, inference

from jobs.marks import TOGETHER

PVC = {"persistentVolumeClaim": {"claimName": "test-pvc"}}
IMAGE = "fake.kaito.invalid/kaito-image:0.0.1"
TRANSFORMERS = {"metadata.annotations": {"kaito.sh/runtime": "transformers"}}


def adapters(*entries: Any) -> Changes:
    return {"inference.adapters": list(entries), **TRANSFORMERS}


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"source": {"name": name, "image": IMAGE}, **more}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"inference.adapters": []},
        {"inference.preset.name": "phi-4-mini-instruct"},
        {"resource.instanceType": "Standard_NC6"},  # Azure's N series is let through
        {"resource.instanceType": "standard_d2s_v6"},
        {"resource.count": 2},
        {"inference.preset": ABSENT, "inference.template": {"spec": {}}},
        adapters(named("adapter-1")),
        adapters(named("adapter-1", strength="0.5"), named("adapter-2", strength="1")),
        adapters({"source": {"name": "adapter-1", "volumeSource": PVC}, "strength": "0.5"}),
        adapters(named("1st-adapter", strength="0.5")),
        {"inference.adapters": [named("a", strength="0.5"), named("b")]},  # KAITO: not on vLLM
        adapters({"source": {"name": "a", "workspace": "tuned"}, "strength": "0.5"}),
        adapters({"source": {"name": "a", "workspace": "team-a/tuned"}}),
        {**adapters(named("a"), named("b")), "metadata.annotations": {TOGETHER: "both"}},
    ],
)
def test_what_is_right_passes(create: Judge, changes: Changes) -> None:
    assert create(inference(changes)) == ()


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        (
            {"resource.instanceType": "Bad_NC6"},
            "resource.instanceType",
            "Unsupported instance type Bad_NC6",
        ),
        (
            {"inference.preset.name": "invalid-name"},
            "inference.preset.name",
            "Unsupported inference preset name invalid-name",
        ),
        ({"inference.preset": ABSENT}, "inference", "Preset or Template must be specified"),
        (
            {"inference.template": {"spec": {}}},
            "inference",
            "Preset and Template cannot be set at the same time",
        ),
        (
            {"inference.preset.name": "meta-llama/Llama-3.1-8B-Instruct"},
            "inference.preset",
            "This preset requires authentication and needs a modelAccessSecret with HF_TOKEN key "
            "under presetOptions to download the model",
        ),
        (
            adapters(*[named(f"a{i}") for i in range(11)]),
            "inference.adapters",
            "Number of Adapters exceeds the maximum limit, maximum of 10 allowed",
        ),
        (
            adapters(named("a"), named("b"), named("a")),
            "inference.adapters",
            "Duplicate adapter source name found: a",
        ),
        (adapters({"strength": "1"}), "inference.adapters[0].source", "is missing"),
        (
            adapters(named("ok"), {"source": {"image": IMAGE}}),
            "inference.adapters[1].source",
            "Name of Adapter field must be specified",
        ),
        (
            adapters(named("adapter-1", strength="invalid")),
            "inference.adapters[0].strength",
            "Invalid strength value for Adapter 'adapter-1': \"invalid\" is not a number",
        ),
        (
            adapters(named("adapter-1", strength="1.5")),
            "inference.adapters[0].strength",
            "Strength value for Adapter 'adapter-1' must be between 0 and 1",
        ),
        (
            adapters(named("adapter-1", strength="-0.1")),
            "inference.adapters[0].strength",
            "Strength value for Adapter 'adapter-1' must be between 0 and 1",
        ),
        (
            adapters(named("adapter-1", strength="nan")),
            "inference.adapters[0].strength",
            "Strength value for Adapter 'adapter-1' must be between 0 and 1",
        ),
        (
            adapters(named("a" * 254)),
            "inference.adapters[0].source.name",
            "must be no more than 253 bytes",
        ),
        (
            adapters(named("Adapter-1")),
            "inference.adapters[0].source.name",
            "a lowercase RFC 1123 subdomain must consist of",
        ),
        (
            adapters({"source": {"name": "a"}}),
            "inference.adapters[0].source",
            "Either Image or Volume must be specified for adapter source",
        ),
        (
            adapters({"source": {"name": "a", "urls": ["https://example.com/adapter.bin"]}}),
            "inference.adapters[0].source.urls",
            "URLs are not supported as adapter source",
        ),
        (
            adapters({"source": {"name": "a", "image": IMAGE, "volumeSource": PVC}}),
            "inference.adapters[0].source",
            "Exactly one of URLs, Volume, or Image must be specified",
        ),
        (
            adapters({"source": {"name": "a", "image": "!Bad"}}),
            "inference.adapters[0].source.image",
            "Unable to parse input image reference: ",
        ),
        (
            adapters({"source": {"name": "a", "volumeSource": {"emptyDir": {}}}}),
            "inference.adapters[0].source.volumeSource.emptyDir",
            "starts empty",
        ),
        # Valid to KAITO, and then no valid pod (B14).
        (
            adapters(named("a.b")),
            "inference.adapters[0].source.name",
            "a lowercase RFC 1123 label must consist of",
        ),
        (
            adapters(named("a" * 57)),
            "inference.adapters[0].source.name",
            "must be no more than 56 bytes",
        ),
        (
            adapters({"source": {"name": "a" * 49, "volumeSource": PVC}}),
            "inference.adapters[0].source.name",
            "must be no more than 48 bytes",
        ),
        (
            adapters({"source": {"name": "a", "image": IMAGE, "workspace": "tuned"}}),
            "inference.adapters[0].source",
            "an adapter comes from one place: image, volumeSource or workspace",
        ),
        (
            adapters({"source": {"name": "a", "workspace": "a/b/c"}}),
            "inference.adapters[0].source.workspace",
            '"a/b/c" names no Workspace',
        ),
        (
            {**adapters(named("a")), "metadata.annotations": {TOGETHER: "a"}},
            f"metadata.annotations.{TOGETHER}",
            "is the name of one of the adapters",
        ),
        (
            {"metadata.annotations": {TOGETHER: "No Name"}},
            f"metadata.annotations.{TOGETHER}",
            "a lowercase RFC 1123 label must consist of",
        ),
        (
            {"resource.partition": {"mode": "mig", "profile": "1g.10gb"}},
            "resource.partition",
            "GPU partitioning is only supported with BYO nodes",
        ),
        (
            {"resource.labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
            "resource.labelSelector",
            'operator "Exists" cannot be converted into the old label selector format',
        ),
        (
            {"resource.labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            "resource.labelSelector",
            'operator "In" without a single value cannot be converted into the old label',
        ),
        (
            {"resource.labelSelector": {"matchExpressions": [{"key": "a", "operator": "is"}]}},
            "resource.labelSelector",
            '"is" is not a valid selector operator',
        ),
    ],
)
def test_what_is_wrong_is_told(create: Judge, changes: Changes, path: str, text: str) -> None:
    [problem] = create(inference(changes))
    assert problem.path == path
    assert problem.what.startswith(text)
    assert not problem.warning


def test_weights_larger_than_all_cards_are_refused_unless_bypassed(create: Judge) -> None:
    large = {
        "inference.preset.name": "phi-3-medium-128k-instruct",
        "inference.adapters": [],
        "resource.instanceType": "Standard_NC6s_v3",
    }
    [problem] = create(inference(large | TRANSFORMERS))
    assert problem.what == (
        "Insufficient total GPU memory: Instance type Standard_NC6s_v3 has a total of 16Gi, "
        "but preset phi-3-medium-128k-instruct requires at least 26Gi"
    )
    assert create(inference(large)) == ()
    annotations = {**TRANSFORMERS["metadata.annotations"], "kaito.sh/bypass-resource-checks": ""}
    [bypassed] = create(inference({**large, "metadata.annotations": annotations}))
    assert bypassed.warning


def test_reserved_labels_beside_others_are_only_ignored(create: Judge) -> None:
    labels = {"app": "a", "kaito.sh/workspace": "other"}
    [problem] = create(inference({"resource.labelSelector.matchLabels": labels}))
    assert problem.warning
    assert problem.path == "resource.labelSelector.matchLabels[kaito.sh/workspace]"


@pytest.mark.parametrize(
    ("partition", "path"),
    [
        ({"mode": "mig", "profile": "1g.10gb"}, None),
        ({"mode": "accelerator", "count": 2}, None),
        ({"mode": "mig", "profile": "1g.10gb", "count": 1}, "resource.partition.count"),
        ({"mode": "accelerator"}, "resource.partition.count"),
        (
            {"mode": "accelerator", "count": 1, "profile": "1g.10gb"},
            "resource.partition.profile",
        ),
    ],
)
def test_own_nodes_may_be_partitioned(create: Judge, partition: Changes, path: str | None) -> None:
    body = inference({"resource.instanceType": ABSENT, "resource.partition": partition})
    assert [p.path for p in create(body, auto_provisioning=False)] == ([path] if path else [])


def test_v1alpha1_private_presets_need_an_image(create: Judge) -> None:
    private = {"inference.preset.accessMode": "private"}
    [problem] = create({**inference(private), "apiVersion": "kaito.sh/v1alpha1"})
    assert problem.what == "When AccessMode is private, an image must be provided in PresetOptions"
    assert create(inference(private)) == ()


AT = "inference.config (ConfigMap mine).inference_config.yaml"


@pytest.mark.parametrize(
    ("text", "path", "what"),
    [
        ("vllm:\n  max-model-len: 1024\n", None, ""),
        ("vllm:\n  max-model-len: '1024'\n", None, ""),
        ("vllm: {}\nother: 1\n", None, ""),
        ("", None, ""),
        (
            "vllm:\n  max-model-len: many\n",
            f"{AT}: vllm.max-model-len",
            'max-model-len must be an integer, not "many"',
        ),
        (
            "vllm:\n  max-model-len: [1]\n",
            f"{AT}: vllm.max-model-len",
            "max-model-len must be an integer, not a list",
        ),
        (
            "vllm:\n  max-model-len: 200000\n",
            f"{AT}: vllm.max-model-len",
            "max-model-len 200000 exceeds model's maximum supported context window 131072 "
            "(ModelTokenLimit)",
        ),
        ("vllm: [", AT, "Failed to parse inference_config.yaml: not valid YAML"),
        ("vllm: 1", f"{AT}: vllm", "Failed to parse inference_config.yaml: must be a map"),
        ("- 1", f"{AT}: vllm", "Failed to parse inference_config.yaml: must be a map"),
    ],
)
def test_the_inference_configuration_is_read(
    create: Judge, text: str, path: str | None, what: str
) -> None:
    maps = {("default", "mine"): {"inference_config.yaml": text}}
    problems = create(inference({"inference.config": "mine"}), config_maps=maps)
    assert [p.path for p in problems] == ([path] if path else [])
    assert all(p.what.startswith(what) for p in problems)


def test_a_missing_inference_configuration_is_told(create: Judge) -> None:
    body = inference({"inference.config": "mine"})
    [absent] = create(body)
    assert absent.what == (
        "ConfigMap 'mine' specified in 'config' not found in namespace 'default'"
    )
    [no_key] = create(body, config_maps={("default", "mine"): {}})
    assert no_key.kaito() == "missing field(s): inference.config.inference_config.yaml in ConfigMap"
    transformers = inference({"inference.config": "mine", **TRANSFORMERS})
    assert create(transformers) == ()


def test_v1alpha1_asks_for_a_length_on_many_small_cards(create: Judge) -> None:
    maps = {("default", "mine"): {"inference_config.yaml": "vllm: {}"}}
    body = inference({"inference.config": "mine", "resource.instanceType": "Standard_NC64as_T4_v3"})
    assert create(body, config_maps=maps) == ()
    [problem] = create({**body, "apiVersion": "kaito.sh/v1alpha1"}, config_maps=maps)
    assert problem.what.startswith("max-model-len is required in the vllm section")


@pytest.mark.parametrize("name", ["7b-model", "a" * 53])
def test_a_name_that_no_service_may_have(create: Judge, name: str) -> None:
    assert [p.path for p in create(inference({"metadata.name": name}))] == ["metadata.name"]
    assert create(inference({"metadata.name": "a" * 52})) == ()
