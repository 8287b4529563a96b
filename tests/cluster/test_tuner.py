"""The tuner image in a restricted pod: prepare, train, push; then the adapter by its digest."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import get_args

import pytest
from rig import tiny
from rig.kube import RESTRICTED_CONTAINER, RESTRICTED_POD, Kube, Machine, Object, volume_image

from cluster import recipes
from cluster.addresses import REGISTRY
from tuning.run import Output, Places, canonical

MODEL = f"{REGISTRY}/test/tiny-llama:1"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model, on this side."""
    return tiny.build_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def model(machine: Machine, base: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Model and rows as an image in the registry, to be mounted as a volume."""
    folder = tmp_path_factory.mktemp("image") / "image"
    (folder / "data").mkdir(parents=True)
    base.chmod(0o755)
    base.rename(folder / "model")
    base.symlink_to(folder / "model")
    for file in (folder / "model").iterdir():
        file.chmod(0o644)  # safetensors are written 0600, and the pod is another user
    tiny.write_parquet(folder / "data" / "codes.parquet")
    volume_image(machine, folder, MODEL)
    return MODEL


@pytest.fixture(scope="module")
def tuner(machine: Machine) -> str:
    """The tuner image with the code of the working tree, in the node's containerd."""
    return machine.image(recipes.tuner)


def run_json(method: tiny.Method, target: str) -> str:
    """The run as the operator would store it: every path is one of the pod."""
    longer = {"num_train_epochs": 60}  # at 40 now and then one code of 64 is not yet learned
    run = tiny.make_run(Path("/tmp/unused"), Path("/image/model"), method, training=longer)
    places = Places(
        work="/work",
        push_auth="/push",
        registry_ca="/ca/ca.crt",
        termination_log="/dev/termination-log",
    )
    data = run.data.model_copy(update={"path": "/image/data/codes.parquet"})
    output = Output(kind="image", target=target)
    update = {"places": places, "data": data, "output": output}
    return canonical(run.model_copy(update=update).model_dump(mode="json")).decode()


def objects(machine: Machine, tuner: str, model: str, run: str) -> list[Object]:
    """A Job whose pod prepares, trains and pushes, and what it reads."""
    login = machine.layout.docker_config("pusher").read_text()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "push"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": login},
    }
    config: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "run"},
        "data": {"run.json": run, "ca.crt": machine.layout.registry_ca.read_text()},
    }
    mounts = {
        "work": "/work",
        "tmp": "/tmp",
        "image": "/image",
        "run": "/run/tunery",
        "ca": "/ca",
        "push": "/push",
    }
    container: Object = {
        "image": tuner,
        "imagePullPolicy": "Never",
        "securityContext": RESTRICTED_CONTAINER,
        "env": [
            {"name": "OMP_NUM_THREADS", "value": "1"},
            {"name": "HF_HUB_OFFLINE", "value": "1"},
            {"name": "HOME", "value": "/tmp"},
        ],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
        "resources": {"limits": {"cpu": "2", "memory": "1536Mi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    words = [
        {**container, "name": word, "args": [word, "/run/tunery/run.json"]}
        for word in ("prepare", "train", "push")
    ]
    volumes: list[Object] = [
        {"name": "work", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "image", "image": {"reference": model}},
        {"name": "run", "configMap": {"name": "run"}},
        {
            "name": "ca",
            "configMap": {"name": "run", "items": [{"key": "ca.crt", "path": "ca.crt"}]},
        },
        {"name": "push", "secret": {"secretName": "push"}},
    ]
    spec = {
        **RESTRICTED_POD,
        "imagePullSecrets": [{"name": "push"}],
        "volumes": volumes,
        "initContainers": words[:2],
        "containers": words[2:],
    }
    job: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "tune"},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}},
    }
    return [secret, config, job]


def last_words(namespace: Kube) -> Object:
    """The termination message of the pod's last container that has ended."""
    listed = json.loads(namespace("get", "pods", "-l", "job-name=tune", "-o", "json"))["items"]
    statuses = [
        *listed[0]["status"].get("initContainerStatuses", ()),
        *listed[0]["status"].get("containerStatuses", ()),
    ]
    ended = [s["state"]["terminated"] for s in statuses if "terminated" in s["state"]]
    assert all(end["exitCode"] == 0 for end in ended), ended
    found: Object = json.loads(ended[-1]["message"])
    return found


@pytest.mark.timeout(400)
@pytest.mark.parametrize("method", get_args(tiny.Method))
def test_the_image_tunes_and_pushes_in_a_restricted_pod(
    namespace: Kube,
    machine: Machine,
    tuner: str,
    model: str,
    base: Path,
    tmp_path: Path,
    method: tiny.Method,
) -> None:
    target = f"{REGISTRY}/test/adapter-{method}:1"
    namespace.apply(*objects(machine, tuner, model, run_json(method, target)))
    namespace.wait("job/tune", "jsonpath={.status.conditions[-1:].status}=True", timeout_s=240)
    digest = last_words(namespace)["digest"]

    # A fresh process without the right to push gets the same adapter, and it has learned.
    login = tmp_path / "login"
    login.mkdir()
    (login / "config.json").write_text(machine.layout.docker_config("puller").read_text())
    environment = {
        "DOCKER_CONFIG": login,
        "REQUESTS_CA_BUNDLE": machine.layout.registry_ca,
        "PYTHONPATH": recipes.ROOT,
    }
    reference = f"{target.rpartition(':')[0]}@{digest}"
    settings = [f"{name}={value}" for name, value in environment.items()]
    machine.run(
        "env",
        *settings,
        sys.executable,
        "-m",
        "tunery",
        "pull",
        reference,
        str(tmp_path / "adapter"),
    )
    assert tiny.exact(base, None) == 0
    adapter = next(
        Path(folder)
        for folder, _, files in os.walk(tmp_path / "adapter")
        if "adapter_config.json" in files
    )
    assert tiny.exact(base, adapter) == 64
