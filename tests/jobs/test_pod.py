"""The tuning Job's pod: who sees what, what it asks for, and what users of KAITO rely on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rig.manifests import ABSENT, Changes, tuning
from rig.world import INSTALLATION, World, node

from jobs.installation import Installation
from jobs.quantity import quantity
from presets import Catalog
from tuning.failure import Kind
from tuning.run import Run

Object = dict[str, Any]
CLAIM = {"persistentVolumeClaim": {"claimName": "mine"}}
IMAGE_INPUT = {
    "tuning.input": {
        "name": "rows",
        "image": "registry.invalid/data/rows:1",
        "imagePullSecrets": ["pull-a", "pull-b"],
    }
}
VOLUME_INPUT = {"tuning.input": {"volumeSource": CLAIM}}
VOLUME_OUTPUT = {"tuning.output": {"volumeSource": CLAIM}}
TOKEN = {"tuning.preset.presetOptions": {"modelAccessSecret": "hub-token"}}
WEIGHTS = {
    "tuning.preset.presetOptions": {
        "image": "registry.invalid/weights/phi-3:1",
        "imagePullSecrets": ["weights-pull"],
    }
}
EVERYTHING = {**IMAGE_INPUT, **TOKEN}
VARIANTS = {
    "urls to an image": {},
    "image to image, gated": EVERYTHING,
    "volume to volume": {**VOLUME_INPUT, **VOLUME_OUTPUT},
    "mounted weights": WEIGHTS,
    "hub data set": {"tuning.input": {"urls": ["hf://datasets/org/rows"]}},
    "a Workspace called prepare": {"metadata.name": "prepare"},
}
LIMITED = replace(
    INSTALLATION, cpu_limit="1500m", memory_gib=40, registry_ca_config_map="ca", device="cpu"
)


class Made:
    """One Workspace's Job, taken apart."""

    def __init__(self, catalog: Catalog, changes: Changes, installation: Installation) -> None:
        world = World(tuning(changes), catalog, installation, (node(), node("gpu-2"))).settle()
        assert world.job is not None, world.status["conditions"]
        self.job = world.job
        snapshot = next(o for (kind, _), o in world.objects.items() if kind == "ConfigMap")
        self.run = Run.model_validate_json(snapshot["data"]["run.json"])
        self.snapshot = snapshot
        self.template = self.job["spec"]["template"]
        self.pod = self.template["spec"]
        (self.prepare,) = self.pod["initContainers"]
        (self.main,) = self.pod["containers"]
        self.volumes = {v["name"]: v for v in self.pod["volumes"]}


@pytest.fixture
def make(catalog: Catalog) -> Any:
    def call(changes: Changes | None = None, installation: Installation = INSTALLATION) -> Made:
        return Made(catalog, changes or {}, installation)

    return call


def sees(container: Object) -> dict[str, Object]:
    return {m["name"]: m for m in container["volumeMounts"]}


def env(container: Object) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


# For every Workspace alike.


@pytest.mark.parametrize("installation", [INSTALLATION, LIMITED], ids=["plain", "limited"])
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
class TestAlways:
    """Promises that hold whatever the Workspace says."""

    @pytest.fixture
    def made(self, catalog: Catalog, changes: Changes, installation: Installation) -> Made:
        return Made(catalog, changes, installation)

    def test_it_meets_pod_security_restricted(self, made: Made) -> None:
        """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
        assert made.pod["securityContext"]["runAsNonRoot"] is True
        assert made.pod["securityContext"]["runAsUser"] == 10001
        assert made.pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (made.prepare, made.main):
            secured = container["securityContext"]
            assert secured["allowPrivilegeEscalation"] is False
            assert secured["capabilities"] == {"drop": ["ALL"]}
            assert secured["readOnlyRootFilesystem"] is True
        allowed = {"configMap", "emptyDir", "secret", "persistentVolumeClaim", "image"}
        assert all(set(v) - {"name"} <= allowed for v in made.volumes.values())
        assert not any("hostPort" in port for port in made.main["ports"])

    def test_nothing_of_the_api_reaches_it(self, made: Made) -> None:
        assert made.pod["automountServiceAccountToken"] is False
        assert made.pod["enableServiceLinks"] is False

    def test_every_volume_is_mounted_and_every_mount_has_a_volume(self, made: Made) -> None:
        mounted = set(sees(made.prepare)) | set(sees(made.main))
        assert mounted == set(made.volumes)

    def test_every_path_of_the_run_is_mounted_where_it_is_read(self, made: Made) -> None:
        places, run = made.run.places, made.run
        both = [places.work, places.scratch, places.push_auth, places.registry_ca, run.model.path]
        target = [run.output.target] if run.output.kind == "folder" else []
        for container, paths in (
            (made.prepare, [*both, *target, places.hub_token, run.data.path, *places.pull_auth]),
            (made.main, [*both, *target]),
        ):
            mounts = [m["mountPath"] for m in sees(container).values()]
            for path in filter(None, paths):
                assert any(Path(path).is_relative_to(m) for m in mounts), path

    def test_only_scratch_and_output_can_be_written(self, made: Made) -> None:
        for container in (made.prepare, made.main):
            writable = {n for n, m in sees(container).items() if not m.get("readOnly")}
            assert writable <= {"work", "tmp", "shm", "output"}

    def test_no_secret_is_in_the_environment(self, made: Made) -> None:
        text = json.dumps([made.prepare["env"], made.main["env"]])
        assert "secretKeyRef" not in text
        assert "secretRef" not in json.dumps(made.pod)

    def test_one_image_two_words_one_run(self, made: Made) -> None:
        assert made.prepare["image"] == made.main["image"] == "registry.invalid/tunery-tuner:1"
        assert made.prepare["command"] == made.main["command"] == ["python", "-m", "tuning"]
        assert made.prepare["args"] == ["prepare", "/etc/tunery/run.json"]
        assert made.main["args"] == ["tune", "/etc/tunery/run.json", "--metrics-port", "5000"]
        assert made.volumes["run"]["configMap"]["name"] == made.snapshot["metadata"]["name"]
        assert made.main["name"] == made.job["metadata"]["name"]
        assert made.prepare["name"] != made.main["name"]

    def test_the_card_is_held_by_the_container_that_trains(self, made: Made) -> None:
        for kind in ("requests", "limits"):
            assert made.main["resources"][kind]["nvidia.com/gpu"] == "1"
        assert "nvidia.com/gpu" not in json.dumps(made.prepare["resources"])

    def test_a_request_is_never_above_its_limit(self, made: Made) -> None:
        for container in (made.prepare, made.main):
            asked = container["resources"]
            for name, limit in asked.get("limits", {}).items():
                assert quantity(asked["requests"][name]) <= quantity(limit)

    def test_it_has_time_to_end(self, made: Made) -> None:
        assert made.pod["terminationGracePeriodSeconds"] >= 60
        assert made.pod["restartPolicy"] == "Never"
        assert made.main["terminationMessagePolicy"] == "FallbackToLogsOnError"

    def test_its_home_is_writable(self, made: Made) -> None:
        for container in (made.prepare, made.main):
            found = env(container)
            assert {found["HOME"], found["TMPDIR"]} == {"/tmp"}
            assert found["HF_HOME"].startswith("/tmp/")
            assert found["USER"] == found["LOGNAME"] != ""
            assert found["TQDM_DISABLE"] == "1"
            assert all(value is not None for value in found.values())


# Inputs.


def test_urls_are_fetched_by_prepare_without_any_login(make: Any) -> None:
    made = make()
    assert made.run.data.urls == ("https://data.invalid/train.parquet",)
    assert set(made.volumes) == {"run", "work", "tmp", "shm", "push"}


def test_an_image_is_pulled_by_prepare_with_its_secrets_as_files(make: Any) -> None:
    made = make(IMAGE_INPUT)
    assert made.run.data.image == "registry.invalid/data/rows:1"
    paths = [sees(made.prepare)[n]["mountPath"] for n in ("pull-0", "pull-1")]
    assert list(made.run.places.pull_auth) == paths
    assert made.volumes["pull-1"]["secret"] == {"secretName": "pull-b"}
    assert not {"pull-0", "pull-1"} & set(sees(made.main))


def test_a_volume_is_mounted_read_only_where_the_rows_are_read(make: Any) -> None:
    made = make(VOLUME_INPUT)
    assert made.volumes["data"] == {"name": "data", **CLAIM}
    assert sees(made.prepare)["data"] == {
        "name": "data",
        "mountPath": "/data",
        "readOnly": True,
    }
    assert "data" not in sees(made.main)
    assert (made.run.data.kind, made.run.data.path) == ("path", "/data")


def test_any_kind_of_volume_is_passed_on_as_it_was_written(make: Any) -> None:
    nfs = {"nfs": {"server": "nfs.invalid", "path": "/rows"}}
    assert make({"tuning.input": {"volumeSource": nfs}}).volumes["data"] == {"name": "data", **nfs}


# Outputs.


def test_the_push_login_is_where_the_push_is_checked_and_where_it_happens(make: Any) -> None:
    made = make()
    for container in (made.prepare, made.main):
        assert sees(container)["push"]["mountPath"] == made.run.places.push_auth
    assert made.run.output.target == "registry.invalid/adapters/phi-3:1"
    assert (made.run.places.work, made.run.places.scratch) == ("/work", None)


def test_with_a_volume_the_adapter_goes_to_its_root_and_the_work_is_hidden_on_it(
    make: Any,
) -> None:
    made = make(VOLUME_OUTPUT)
    run_label = made.job["metadata"]["labels"]["tunery.sh/run"]
    assert (made.run.output.kind, made.run.output.target) == ("folder", "/output")
    assert made.run.places.work == f"/output/.tunery/{run_label}"
    assert made.run.places.scratch == "/work", "downloads need not outlive the pod"
    assert made.volumes["output"] == {"name": "output", **CLAIM}
    assert "push" not in made.volumes
    assert len(made.pod["containers"]) == 1


def test_one_claim_may_be_both(make: Any) -> None:
    made = make({**VOLUME_INPUT, **VOLUME_OUTPUT})
    assert {"data", "output"} <= set(made.volumes)
    assert sees(made.prepare)["data"].get("readOnly") is True
    assert "readOnly" not in sees(made.prepare)["output"]


def test_a_registry_without_tls_must_be_named_by_the_installation(make: Any) -> None:
    assert make().run.output.insecure is False
    plain = replace(INSTALLATION, insecure_registries=("registry.invalid",))
    assert make({}, plain).run.output.insecure is True


# The model.


def test_the_hubs_token_is_a_file_that_only_prepare_has(make: Any) -> None:
    made = make(TOKEN)
    assert made.run.places.hub_token == "/var/run/tunery/hub/HF_TOKEN"
    assert made.volumes["hub"]["secret"] == {
        "secretName": "hub-token",
        "items": [{"key": "HF_TOKEN", "path": "HF_TOKEN"}],
    }
    assert "hub" in sees(made.prepare)
    assert "hub" not in sees(made.main)


def test_weights_in_an_image_are_mounted_and_nothing_is_downloaded(make: Any) -> None:
    made = make(WEIGHTS)
    assert made.volumes["weights"]["image"] == {"reference": "registry.invalid/weights/phi-3:1"}
    assert made.run.model.path == "/weights"
    assert made.run.model.id == "microsoft/Phi-3-mini-128k-instruct", "its public name stays"
    assert env(made.prepare)["HF_HUB_OFFLINE"] == "1"
    disk = made.main["resources"]["requests"]["ephemeral-storage"]
    assert int(disk[:-2]) < int(make().main["resources"]["requests"]["ephemeral-storage"][:-2])


def test_an_installation_may_keep_weights_in_its_own_registry(make: Any) -> None:
    own = replace(INSTALLATION, weights_registry="registry.invalid/kaito/")
    found = make({}, own).volumes["weights"]["image"]["reference"]
    assert found.startswith("registry.invalid/kaito/kaito-phi-3-mini-128k-instruct:")
    assert make(WEIGHTS, own).volumes["weights"]["image"]["reference"].endswith("/phi-3:1")


def test_training_needs_no_hub_and_prepare_does(make: Any) -> None:
    made = make({}, replace(INSTALLATION, hub_endpoint="https://mirror.invalid"))
    assert env(made.main)["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in env(made.prepare)
    assert env(made.prepare)["HF_ENDPOINT"] == "https://mirror.invalid"


def test_a_hub_data_set_needs_the_hub_although_the_weights_are_there(make: Any) -> None:
    made = make({**WEIGHTS, "tuning.input": {"urls": ["hf://datasets/org/rows"]}})
    assert made.run.data.dataset is not None
    assert "HF_HUB_OFFLINE" not in env(made.prepare)


# The node.


def test_it_goes_only_to_nodes_with_the_labels(make: Any) -> None:
    made = make({"resource.labelSelector.matchLabels": {"app": "tune-phi-3"}})
    affinity = made.pod["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [
        {"key": "app", "operator": "In", "values": ["tune-phi-3"]},
        {
            "key": "node.kubernetes.io/instance-type",
            "operator": "In",
            "values": ["Standard_NC24ads_A100_v4"],
        },
    ]


def test_labels_that_kaito_keeps_for_itself_are_not_asked_for(make: Any) -> None:
    labels = {"app": "tune-phi-3", "kaito.sh/workspace": "another"}
    made = make({"resource.labelSelector.matchLabels": labels})
    assert "kaito.sh/workspace" not in json.dumps(made.pod["affinity"])


def test_a_selector_of_expressions_counts_too(make: Any) -> None:
    expression = {"key": "app", "operator": "In", "values": ["tune-phi-3"]}
    made = make({"resource.labelSelector": {"matchExpressions": [expression]}})
    assert '["tune-phi-3"]' in json.dumps(made.pod["affinity"])


@pytest.mark.parametrize(
    "taint",
    [
        ("sku", "gpu"),
        ("gpu", ""),
        ("gpu", "true"),
        ("nvidia.com/gpu", "present"),
        ("kubernetes.azure.com/scalesetpriority", "spot"),
    ],
)
def test_the_usual_taints_of_gpu_nodes_are_tolerated(make: Any, taint: tuple[str, str]) -> None:
    key, value = taint
    assert any(
        t["key"] == key and (t["operator"] == "Exists" or t.get("value") == value)
        for t in make().pod["tolerations"]
    )


def test_a_node_is_not_emptied_under_it(make: Any) -> None:
    notes = make().template["metadata"]["annotations"]
    assert notes["karpenter.sh/do-not-disrupt"] == "true"
    assert notes["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_all_cards_of_the_instance_are_held(make: Any, catalog: Catalog) -> None:
    sku = "Standard_NC48ads_A100_v4"
    labels = {"app": "tune-phi-3", "node.kubernetes.io/instance-type": sku}
    world = World(
        tuning({"resource.instanceType": sku}), catalog, nodes=(node(labels=labels, gpus=2),)
    ).settle()
    assert world.job is not None
    (main,) = world.job["spec"]["template"]["spec"]["containers"]
    assert main["resources"]["limits"]["nvidia.com/gpu"] == "2"
    world = World(
        tuning({"resource.instanceType": sku}), catalog, nodes=(node(labels=labels, gpus=1),)
    ).settle()
    assert world.job is None, "half of its cards are not there yet"


def test_pretended_cards_are_held_while_the_cpu_computes(make: Any) -> None:
    made = make({}, replace(INSTALLATION, device="cpu", memory_gib=40))
    assert (made.run.hardware.gpus, made.run.hardware.name) == (0, "CPU")
    assert made.run.hardware.gib_per_gpu == 32, "what the limit leaves"
    assert made.main["resources"]["limits"] == {"memory": "40Gi", "nvidia.com/gpu": "1"}


def test_threads_follow_the_limit_and_only_a_limit(make: Any) -> None:
    limited = make({}, replace(INSTALLATION, cpu_limit="2"))
    source = env(limited.main)["OMP_NUM_THREADS"]
    assert source == {"resourceFieldRef": {"resource": "limits.cpu"}}
    assert "OMP_NUM_THREADS" not in env(make().main)


def test_an_estimate_is_asked_for_and_never_a_limit(make: Any) -> None:
    resources = make().main["resources"]
    assert set(resources["limits"]) == {"nvidia.com/gpu"}
    assert {"cpu", "memory", "ephemeral-storage"} < set(resources["requests"])


# Secrets of the kubelet.


def test_pull_secrets_of_the_installation_come_first_and_none_twice(make: Any) -> None:
    own = replace(INSTALLATION, image_pull_secrets=("tuner-pull", "push"))
    made = make({**IMAGE_INPUT, **WEIGHTS}, own)
    names = [secret["name"] for secret in made.pod["imagePullSecrets"]]
    assert names == ["tuner-pull", "push", "weights-pull", "pull-a", "pull-b"]


def test_kaitos_pods_can_pull_with_the_push_secret_and_so_can_ours(make: Any) -> None:
    assert make().pod["imagePullSecrets"] == [{"name": "push"}]
    assert "imagePullSecrets" not in make(VOLUME_OUTPUT).pod


def test_in_house_servers_are_trusted_where_the_installation_says_so(make: Any) -> None:
    made = make({}, replace(INSTALLATION, registry_ca_config_map="company-ca"))
    assert made.volumes["ca"]["configMap"] == {"name": "company-ca", "optional": True}
    assert made.run.places.registry_ca == "/var/run/tunery/ca/ca.crt"


# The Job.


def test_the_failure_policy_is_the_table(make: Any) -> None:
    ignore, fail = make().job["spec"]["podFailurePolicy"]["rules"]
    assert ignore["action"] == "Ignore"
    assert [c["type"] for c in ignore["onPodConditions"]] == ["DisruptionTarget"]
    assert fail["action"] == "FailJob"
    assert "containerName" not in fail["onExitCodes"], "prepare's codes count as well"
    values = fail["onExitCodes"]["values"]
    assert values == sorted(kind.exit_code for kind in Kind if kind.value.final)


def test_retries_are_the_installations(make: Any) -> None:
    assert make({}, replace(INSTALLATION, backoff_limit=7)).job["spec"]["backoffLimit"] == 7


def test_names_and_labels_are_those_that_kaitos_users_know(make: Any) -> None:
    made = make()
    assert made.job["metadata"]["name"] == "tune-phi-3"
    assert made.job["metadata"]["annotations"]["workspace.kaito.io/revision"] == "1"
    for labels in (made.job["metadata"]["labels"], made.template["metadata"]["labels"]):
        assert labels["kaito.sh/workspace"] == "tune-phi-3"
    assert made.main["ports"][0]["containerPort"] == 5000


def test_a_queue_of_kueue_is_chosen_on_the_workspace(make: Any) -> None:
    made = make({"metadata.labels": {"kueue.x-k8s.io/queue-name": "research", "team": "blue"}})
    assert made.job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert "team" not in made.job["metadata"]["labels"]


def test_the_snapshot_never_changes(make: Any) -> None:
    made = make()
    assert made.snapshot["immutable"] is True
    assert made.run.name == "tune-phi-3"
    assert made.run.model.revision == "072cb7562cb8c4adf682a8e186aaafa49469eb5d"


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent", "Never"])
def test_a_pull_policy_is_passed_on(make: Any, policy: Any) -> None:
    made = make({}, replace(INSTALLATION, image_pull_policy=policy))
    assert made.prepare["imagePullPolicy"] == made.main["imagePullPolicy"] == policy
    assert "imagePullPolicy" not in make().main


def test_kaitos_default_method_names_are_read_in_any_case(make: Any) -> None:
    assert make({"tuning.method": "QLoRA"}).run.method == "qlora"
    assert make({"tuning.method": "LORA"}).run.method == "lora"


def test_an_unused_secret_is_not_mounted(make: Any) -> None:
    changes = {"tuning.input.imagePullSecrets": ["unused"], "tuning.config": ABSENT}
    assert not any(name.startswith("pull") for name in make(changes).volumes)
