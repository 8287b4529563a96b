"""A serving's objects: names and ports of KAITO, a restricted pod, flags of model and cards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig.manifests import ABSENT, Changes

from jobs.installation import Installation
from jobs.marks import Owner
from jobs.serve import serve
from jobs.serving.order import ServeOrder
from jobs.serving.sources import Surroundings
from serving.plan import ServePlan
from tests.jobs.serving.conftest import INSTALLATION, Ordered

Object = dict[str, Any]
OWNER = Owner("default", "serve-phi-3", "uid-1")
TRANSFORMERS = {"metadata.annotations": {"kaito.sh/runtime": "transformers"}}
PRIVATE = {
    "inference.adapters": [
        {
            "source": {"name": "facts", "image": "registry.invalid/a:1", "imagePullSecrets": ["a"]},
            "strength": "0.5",
        },
        {
            "source": {
                "name": "style",
                "volumeSource": {"persistentVolumeClaim": {"claimName": "mine"}},
            }
        },
    ],
    "inference.preset.presetOptions": {"modelAccessSecret": "hub-token"},
}
VARIANTS: dict[str, Changes] = {
    "vLLM": {},
    "transformers": TRANSFORMERS,
    "everything": PRIVATE,
    "no adapters": {"inference.adapters": []},
    "a Workspace called prepare": {"metadata.name": "prepare"},
}


class Made:
    """The objects of one serving, taken apart."""

    def __init__(self, order: ServeOrder, installation: Installation = INSTALLATION) -> None:
        self.objects = serve(order, replace(OWNER, name=order.workspace.name), installation)
        self.kinds = [o["kind"] for o in self.objects]
        self.set = self.objects[-1]
        self.service, self.headless = (o for o in self.objects if o["kind"] == "Service")
        self.template = self.set["spec"]["template"]
        self.pod = self.template["spec"]

    @property
    def plan(self) -> ServePlan:
        return ServePlan.model_validate_json(self.objects[0]["data"]["plan.json"])

    @property
    def prepare(self) -> Object:
        (found,) = self.pod["initContainers"]
        return dict(found)

    @property
    def main(self) -> Object:
        (found,) = self.pod["containers"]
        return dict(found)


def env(container: Object) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


def test_the_names_are_those_of_kaito(ordered: Ordered) -> None:
    made = Made(ordered())
    assert made.kinds == ["ConfigMap", "Service", "Service", "StatefulSet"]
    names = [o["metadata"]["name"] for o in made.objects[1:]]
    assert names == ["serve-phi-3", "serve-phi-3-headless", "serve-phi-3"]
    (reference,) = made.set["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["uid"], reference["controller"]) == (
        "Workspace",
        "uid-1",
        True,
    )
    assert all(o["metadata"]["ownerReferences"] == [reference] for o in made.objects)
    spec = made.set["spec"]
    assert (spec["replicas"], spec["serviceName"]) == (1, "serve-phi-3-headless")
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["selector"] == {"matchLabels": {"kaito.sh/workspace": "serve-phi-3"}}
    labels = made.template["metadata"]["labels"]
    assert labels["kaito.sh/workspace"] == "serve-phi-3"
    assert made.objects[0]["metadata"]["name"] == f"serve-phi-3-{labels['tunery.sh/run']}"
    assert made.template["metadata"]["annotations"] == {"workspace.kaito.io/revision": "3"}
    assert made.main["name"] == "serve-phi-3"


def test_clients_find_it_on_port_80(ordered: Ordered) -> None:
    made = Made(ordered())
    port = {"name": "http", "port": 80, "targetPort": 5000, "protocol": "TCP"}
    assert made.service["spec"] == {
        "type": "ClusterIP",
        "selector": {"kaito.sh/workspace": "serve-phi-3"},
        "ports": [port],
    }
    assert made.headless["spec"]["clusterIP"] == "None"
    outside = Made(ordered({"metadata.annotations": {"kaito.sh/enablelb": "True"}}))
    assert outside.service["spec"]["type"] == "LoadBalancer"
    assert made.main["ports"] == [{"name": "http", "containerPort": 5000, "protocol": "TCP"}]


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_the_pod_is_restricted_and_sees_only_what_it_uses(
    ordered: Ordered, changes: Changes
) -> None:
    made = Made(ordered(changes, replace(INSTALLATION, registry_ca_config_map="ca")))
    pod = made.pod
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
    volumes = {v["name"]: v for v in pod["volumes"]}
    assert len(volumes) == len(pod["volumes"])
    for container in (made.prepare, made.main):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        mounts = {m["name"]: m for m in container["volumeMounts"]}
        assert set(mounts) <= set(volumes)
        assert len({m["mountPath"] for m in mounts.values()}) == len(container["volumeMounts"])
    server = {m["name"]: m for m in made.main["volumeMounts"]}
    assert not any("secret" in volumes[name] for name in server)
    assert not any(name.startswith(("plan", "ca", "adapter-")) for name in server)
    writable = {name for name, mount in server.items() if not mount.get("readOnly")}
    assert writable == {"tmp", "shm"}
    assert made.prepare["name"] != made.main["name"]
    assert "secret" not in json.dumps([made.prepare["env"], made.main["env"]]).lower()


def test_the_plan_says_what_the_pod_mounts(ordered: Ordered) -> None:
    made = Made(ordered(PRIVATE))
    plan, paths = made.plan, {m["mountPath"] for m in made.prepare["volumeMounts"]}
    assert [(a.name, a.strength, a.image, a.path) for a in plan.adapters] == [
        ("facts", 0.5, "registry.invalid/a:1", None),
        ("style", 1.0, None, "/sources/style"),
    ]
    places = plan.places
    assert places.pull_auth == ("/var/run/tunery/pull-0",)
    assert places.hub_token == "/var/run/tunery/hub/HF_TOKEN"
    said = {*places.pull_auth, "/var/run/tunery/hub", "/sources/style"}
    assert said | {places.adapters, places.model, places.ready} <= paths
    assert made.prepare["args"] == ["prepare", "/etc/tunery/plan.json"]
    assert plan.model.model_dump() == {
        "name": "phi-3-mini-128k-instruct",
        "id": "microsoft/Phi-3-mini-128k-instruct",
        "also": (),
        "revision": plan.model.revision,
        "path": None,
    }
    assert made.pod["imagePullSecrets"] == [{"name": "a"}]


def test_vllm_is_started_as_it_is(ordered: Ordered) -> None:
    main = Made(ordered(), replace(INSTALLATION, vllm_image="registry.invalid/vllm@sha256:1")).main
    assert main["image"] == "registry.invalid/vllm@sha256:1"
    assert main["command"] == ["vllm", "serve"]
    assert main["args"] == [
        "/ready/model",
        "--config",
        "/ready/vllm.yaml",
        "--served-model-name",
        "phi-3-mini-128k-instruct",
        "--port",
        "5000",
        "--middleware",
        "tunery_chat.Chat",
        "--shutdown-timeout",
        "30",
    ]
    found = env(main)
    assert (found["PYTHONPATH"], found["TUNERY_CHAT"]) == ("/ready", "/ready/chat.json")
    assert main["securityContext"]["runAsGroup"] == 0
    assert main["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}


def test_transformers_is_started_in_the_folder_of_its_model(ordered: Ordered) -> None:
    made = Made(ordered({**TRANSFORMERS, "inference.preset.name": "org/name"}))
    main = made.main
    assert main["image"] == INSTALLATION.tuner_image == made.prepare["image"]
    assert main["workingDir"] == "/ready"
    assert main["args"][:2] == ["transformers", "org/name"]
    assert made.plan.runtime == "transformers"
    assert "PYTHONPATH" not in env(main)
    small = replace(INSTALLATION, prepare_image="registry.invalid/prepare:1")
    other = Made(ordered(TRANSFORMERS), small)
    assert other.prepare["image"] == "registry.invalid/prepare:1"
    assert other.main["image"] == INSTALLATION.tuner_image


def test_the_server_may_take_minutes_to_start_and_has_seconds_to_end(ordered: Ordered) -> None:
    made = Made(ordered())
    main = made.main
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = "/ready" if probe == "readinessProbe" else "/health"
        assert main[probe]["httpGet"] == {"path": path, "port": 5000}
    start = main["startupProbe"]
    assert 1800 <= start["failureThreshold"] * start["periodSeconds"] <= 10800
    assert made.pod["terminationGracePeriodSeconds"] == 65


def test_a_share_of_a_card(ordered: Ordered) -> None:
    share = {"resource.partition": {"mode": "mig", "profile": "2g.20gb"}}
    limits = Made(ordered({**share, "resource.instanceType": ABSENT})).main["resources"]["limits"]
    assert limits == {"nvidia.com/mig-2g.20gb": "1"}
    two = {"resource.partition": {"mode": "accelerator", "count": 2}}
    limits = Made(ordered(two, gpus=8)).main["resources"]["limits"]
    assert limits == {"nvidia.com/gpu": "2"}


def test_weights_of_an_image_are_mounted_and_not_downloaded(ordered: Ordered) -> None:
    image = {"inference.preset.presetOptions": {"image": "registry.invalid/weights/phi-3:1"}}
    made = Made(ordered(image))
    assert made.plan.model.path == "/weights"
    weights = {"name": "weights", "mountPath": "/weights", "readOnly": True}
    assert weights in made.main["volumeMounts"] and weights in made.prepare["volumeMounts"]
    assert "model" not in {v["name"] for v in made.pod["volumes"]}
    disk = made.main["resources"]["requests"]["ephemeral-storage"]
    assert disk == "4Gi" and Made(ordered()).main["resources"]["requests"] != disk


def test_replicas_are_whole_servers(ordered: Ordered) -> None:
    assert Made(ordered({"resource.count": 3})).set["spec"]["replicas"] == 3


def test_objects_are_fresh_at_every_call(ordered: Ordered) -> None:
    order = ordered(PRIVATE, around=Surroundings({}, image_volumes=True))
    first, second = Made(order), Made(order)
    before = json.dumps(second.objects, sort_keys=True)
    for value in first.objects:
        _spoil(value)
    assert json.dumps(second.objects, sort_keys=True) == before
    assert json.dumps(Made(order).objects, sort_keys=True) == before


def _spoil(value: Any) -> None:
    if isinstance(value, dict):
        for inner in value.values():
            _spoil(inner)
        value["spoilt"] = True
    elif isinstance(value, list):
        for inner in value:
            _spoil(inner)
        value.append("spoilt")


def test_the_users_own_template_is_served_under_the_workspaces_labels(ordered: Ordered) -> None:
    template = {
        "metadata": {"labels": {"app": "mine"}},
        "spec": {
            "containers": [{"name": "c", "image": "mine:1"}],
            "tolerations": [{"key": "own", "operator": "Exists"}],
        },
    }
    changes = {"inference.preset": ABSENT, "inference.adapters": ABSENT}
    made = Made(ordered({**changes, "inference.template": template}))
    assert made.kinds == ["Service", "Service", "StatefulSet"]
    labels = made.template["metadata"]["labels"]
    assert labels["app"] == "mine" and labels["kaito.sh/workspace"] == "serve-phi-3"
    assert made.pod["containers"] == template["spec"]["containers"]  # type: ignore[index]
    assert made.pod["tolerations"][0] == {"key": "own", "operator": "Exists"}
    assert "affinity" in made.pod


def test_the_quick_starts_second_half_is_rendered(ordered: Ordered) -> None:
    file = Path(__file__).parents[1] / "data" / "inference_phi_3_adapters.yaml"
    made = Made(ordered(body=yaml.safe_load(file.read_text())))
    (adapter,) = made.plan.adapters
    assert adapter.model_dump(exclude_none=True) == {
        "name": "phi-3-adapter",
        "strength": 1.0,
        "image": "aimodelsregistry.azurecr.io/adapters/phi-3-dolly:0.0.1",
    }
    assert made.plan.runtime == "transformers"
