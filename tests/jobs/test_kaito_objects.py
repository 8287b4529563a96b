"""Objects equal to KAITO's in what users depend on: its own cases, written anew.

KAITO at 056b8280b: test/e2e/preset_test.go (1468, 1505), pkg/workspace/tuning/preset_tuning_test.go
(the line is in each case's name), controllers TestSyncControllerRevision.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig.manifests import ABSENT, Changes, tuning
from rig.world import World, node

from jobs import marks
from jobs.workspace import V1ALPHA1_INSTANCE_TYPE
from presets import Catalog
from tuning.run import Run

DATA = Path(__file__).parent / "data"
Object = dict[str, Any]


def public(catalog: Catalog, file: str) -> World:
    """A file of tests/jobs/data, on a node of its own."""
    documents = list(yaml.safe_load_all((DATA / file).read_text()))
    body = next(d for d in documents if d["kind"] == "Workspace")
    maps = {
        d["metadata"]["name"]: d["data"]["training_config.yaml"]
        for d in documents
        if d["kind"] == "ConfigMap"
    }
    resource = body["resource"]
    labels = {
        **resource["labelSelector"]["matchLabels"],
        "node.kubernetes.io/instance-type": resource.get("instanceType", V1ALPHA1_INSTANCE_TYPE),
    }
    return World(body, catalog, nodes=(node(labels=labels),), configs=maps).settle()


def pod_of(world: World) -> Object:
    assert world.job is not None, world.status["conditions"]
    found: Object = world.job["spec"]["template"]["spec"]
    return found


def run_of(world: World) -> Run:
    name = marks.snapshot(
        world.body["metadata"]["name"], world.body["metadata"]["annotations"][marks.HASH]
    )
    return Run.model_validate_json(world.objects["ConfigMap", name]["data"]["run.json"])


def made(catalog: Catalog, changes: Changes, configs: dict[str, str] | None = None) -> World:
    return World(tuning(changes), catalog, configs=configs or {}).settle()


# The public quick start.


def test_the_public_example_is_admitted_and_becomes_the_right_job(catalog: Catalog) -> None:
    world = public(catalog, "tuning_phi_3_public.yaml")
    run, pod = run_of(world), pod_of(world)
    assert run.model.id == "microsoft/Phi-3-mini-128k-instruct"
    assert run.method == "qlora"
    assert run.config.quantization.load_in_4bit
    assert run.config.lora["r"] == 8
    assert run.config.lora["target_modules"] == ["qkv_proj", "o_proj"], "the parts it names"
    assert run.config.training["per_device_train_batch_size"] == 2
    assert run.config.model.dtype == "bfloat16", "what the card lacks is the trainer's to replace"
    assert run.hardware.name == "NVIDIA V100 16GB" and not run.hardware.bf16
    assert run.data.urls[0].endswith(".parquet?download=true")
    assert run.output.target == "aimodelsregistry.azurecr.io/adapters/phi-3-dolly:0.0.1"
    assert [c["name"] for c in pod["initContainers"]] == ["prepare"]
    assert [c["name"] for c in pod["containers"]] == ["workspace-tuning-phi-3"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "Standard_NC6s_v3" in json.dumps(pod["affinity"])
    secrets = [v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v]
    assert secrets == ["aimodelsregistrysecret"]


@pytest.mark.parametrize(
    "file",
    ["tuning_phi_3.yaml", "tuning_phi_3_config.yaml", "tuning_phi_3_v1alpha1.yaml"],
)
def test_its_neighbours_become_jobs_too(catalog: Catalog, file: str) -> None:
    assert pod_of(public(catalog, file))


# e2e 1 and 2.


def test_two_rounds_with_images_are_two_revisions(catalog: Catalog) -> None:
    image = {"image": "registry.invalid/data/rows:1", "imagePullSecrets": ["pull"]}
    world = made(catalog, {"tuning.input": image})
    for revision, tag in (("1", "1"), ("2", "2")):
        if revision == "2":
            world.edit("tuning.input.image", "registry.invalid/data/rows:2")
            world.edit("tuning.output.image", "registry.invalid/adapters/phi-3:2")
            world.settle()
        run = run_of(world)
        assert run.data.image == f"registry.invalid/data/rows:{tag}"
        assert run.output.target == f"registry.invalid/adapters/phi-3:{tag}"
        whole_hash = world.body["metadata"]["annotations"][marks.HASH]
        assert world.job is not None
        assert world.body["metadata"]["annotations"][marks.REVISION] == revision
        assert world.job["metadata"]["annotations"][marks.REVISION] == revision
        recorded = world.objects["ControllerRevision", f"tune-phi-3-{whole_hash[:5]}"]
        assert str(recorded["revision"]) == revision
        assert recorded["metadata"]["annotations"][marks.HASH] == whole_hash
        assert recorded["metadata"]["labels"] == {"workspace.kaito.io/name": "tune-phi-3"}
        assert recorded["data"]["tuning"] == world.body["tuning"]
        world.end_job(True)
        world.settle()
        assert world.condition("WorkspaceSucceeded")["status"] == "True"


def test_two_rounds_with_claims(catalog: Catalog) -> None:
    def claim(name: str) -> Object:
        return {"volumeSource": {"persistentVolumeClaim": {"claimName": name}}}

    world = made(catalog, {"tuning.input": claim("in-1"), "tuning.output": claim("out-1")})
    for round_ in ("1", "2"):
        if round_ == "2":
            world.edit("tuning.input", claim("in-2"))
            world.edit("tuning.output", claim("out-2"))
            world.settle()
        volumes = pod_of(world)["volumes"]
        claims = [
            v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v
        ]
        assert claims == [f"in-{round_}", f"out-{round_}"]


# preset_tuning_test.go.


def test_40_urls_are_fetched_before_the_main_container(catalog: Catalog) -> None:
    urls = ["http://example.com/data1.jsonl", "http://example.com/data2.jsonl"]
    world = made(catalog, {"tuning.input.urls": urls})
    assert run_of(world).data.urls == tuple(urls)
    assert pod_of(world)["initContainers"][0]["args"][0] == "prepare"


def test_80_an_image_is_fetched_with_its_secret_as_a_docker_config(catalog: Catalog) -> None:
    source = {
        "name": "some-name",
        "image": "registry.invalid/custom/data-loader-image",
        "imagePullSecrets": ["image-pull-secret-name"],
    }
    world = made(catalog, {"tuning.input": source})
    volumes = {v["name"]: v for v in pod_of(world)["volumes"]}
    assert volumes["pull-0"]["secret"]["secretName"] == "image-pull-secret-name"
    assert run_of(world).data.image == source["image"]


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("output_dir", ["lora-output", "/mnt/results", None])
def test_149_results_go_to_the_volume_whatever_output_dir_says(
    catalog: Catalog, method: str, output_dir: str | None
) -> None:
    """KAITO mounts the volume at output_dir and loses what is written elsewhere (B10)."""
    said = f"output_dir: {output_dir}" if output_dir else "seed: 1"
    quantized = "QuantizationConfig: {load_in_4bit: true}, " if method == "qlora" else ""
    text = f"training_config: {{{quantized}TrainingArguments: {{{said}}}}}"
    claim = {"persistentVolumeClaim": {"claimName": "output-pvc"}}
    changes = {
        "tuning.method": method,
        "tuning.config": "mine",
        "tuning.output": {"volumeSource": claim},
    }
    world = made(catalog, changes, {"mine": text})
    assert run_of(world).output.target == "/output"
    assert {"name": "output", **claim} in pod_of(world)["volumes"]


@pytest.mark.parametrize("configs", [{}, {"mine": "not: [valid"}, {"mine": "training_config: 5"}])
def test_149_a_config_that_is_absent_or_invalid_makes_no_job(
    catalog: Catalog, configs: dict[str, str]
) -> None:
    world = made(catalog, {"tuning.config": "mine"}, configs)
    assert world.job is None
    assert "mine" in world.condition("JobStarted")["message"]


def test_379_there_is_one_container_where_kaito_has_three(catalog: Catalog) -> None:
    """What watches and pushes beside the trainer is what hung for ever (B1)."""
    world = made(catalog, {"tuning.output.imagePushSecret": "push-secret"})
    pod = pod_of(world)
    assert len(pod["containers"]) == 1
    assert pod["imagePullSecrets"] == [{"name": "push-secret"}]
    assert "shareProcessNamespace" not in pod


def test_576_affinity_is_the_selectors_labels(catalog: Catalog) -> None:
    labels = {"accelerator": "nvidia-gpu", "instance-type": "gpu-node"}
    body = tuning({"resource.labelSelector.matchLabels": labels, "resource.instanceType": ABSENT})
    world = World(body, catalog, nodes=(node(labels=labels),))
    world.installation = type(world.installation)(tuner_image="t:1", auto_provisioning=False)
    affinity = pod_of(world.settle())["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    found = {e["key"]: e["values"] for e in term["matchExpressions"] if e["operator"] == "In"}
    assert found == {key: [value] for key, value in labels.items()}


def test_643_spot_nodes_are_tolerated_on_every_cloud(catalog: Catalog) -> None:
    keys = {t["key"]: t.get("value") for t in pod_of(made(catalog, {}))["tolerations"]}
    assert keys["kubernetes.azure.com/scalesetpriority"] == "spot"
    assert keys["sku"] == "gpu"
    assert "gpu" in keys


def test_727_the_tuning_word_is_run_not_a_server(catalog: Catalog) -> None:
    (main,) = pod_of(made(catalog, {}))["containers"]
    assert [*main["command"], *main["args"]][:4] == ["python", "-m", "tuning", "tune"]
