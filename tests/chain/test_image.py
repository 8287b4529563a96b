"""The tuner image in restricted pods: prepare and tune; then the adapter by its digest."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import get_args

import pytest
from rig import tiny
from rig.kube import (
    RESTRICTED_CONTAINER,
    RESTRICTED_POD,
    Kube,
    Machine,
    Object,
    docker_secret,
    volume_image,
)

from cluster import recipes
from cluster.addresses import REGISTRY
from tuning.run import Output, Places, canonical

MODEL = f"{REGISTRY}/test/tiny-llama-and-codes:1"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model, on this side."""
    return tiny.build_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def model(machine: Machine, base: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Model and rows as an image in the registry, to be mounted as a volume."""
    folder = tmp_path_factory.mktemp("image") / "image"
    (folder / "data").mkdir(parents=True)
    base.rename(folder / "model")
    base.symlink_to(folder / "model")
    tiny.write_parquet(folder / "data" / "codes.parquet")
    volume_image(machine, folder, MODEL)
    return MODEL


@pytest.fixture(scope="module")
def tuner(machine: Machine) -> str:
    """The tuner image with the code of the working tree, in the node's containerd."""
    return machine.image(recipes.tuner)


def run_json(method: tiny.Method, target: str) -> str:
    """The run as the operator would store it: every path is one of the pod."""
    run = tiny.make_run(Path("/tmp/unused"), Path("/image/model"), method)
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


def objects(machine: Machine, tuner: str, model: str, name: str, run: str) -> list[Object]:
    """A Job whose pod prepares, trains and pushes, and what it reads."""
    config: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
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
        "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "2", "memory": "1536Mi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    words = [
        {**container, "name": word, "args": [word, "/run/tunery/run.json"]}
        for word in ("prepare", "tune")
    ]
    volumes: list[Object] = [
        {"name": "work", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "image", "image": {"reference": model}},
        {"name": "run", "configMap": {"name": name}},
        {
            "name": "ca",
            "configMap": {"name": name, "items": [{"key": "ca.crt", "path": "ca.crt"}]},
        },
        {"name": "push", "secret": {"secretName": "push"}},
    ]
    spec = {
        **RESTRICTED_POD,
        "imagePullSecrets": [{"name": "push"}],
        "volumes": volumes,
        "initContainers": words[:1],
        "containers": words[1:],
    }
    job: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}},
    }
    return [config, job]


def last_words(namespace: Kube, job: str) -> Object:
    """The termination message of the pod's last container that has ended."""
    listed = json.loads(namespace("get", "pods", "-l", f"job-name={job}", "-o", "json"))["items"]
    statuses = [
        *listed[0]["status"].get("initContainerStatuses", ()),
        *listed[0]["status"].get("containerStatuses", ()),
    ]
    ended = [s["state"]["terminated"] for s in statuses if "terminated" in s["state"]]
    assert all(end["exitCode"] == 0 for end in ended), ended
    found: Object = json.loads(ended[-1]["message"])
    return found


@pytest.mark.timeout(400)
def test_the_image_tunes_and_pushes_in_restricted_pods(
    namespace: Kube, machine: Machine, tuner: str, model: str, base: Path, tmp_path: Path
) -> None:
    methods = get_args(tiny.Method)
    target = {method: f"{REGISTRY}/test/adapter-{method}" for method in methods}
    namespace.apply(docker_secret("push", machine.layout.docker_config("pusher").read_text()))
    for method in methods:  # both at once: each waits while the other works
        run = run_json(method, f"{target[method]}:1")
        namespace.apply(*objects(machine, tuner, model, method, run))
    assert tiny.exact(base, None) == 0
    for method in methods:
        ended = "jsonpath={.status.conditions[-1:].status}=True"
        namespace.wait(f"job/{method}", ended, timeout_s=300)
        digest = last_words(namespace, method)["digest"]
        adapter = pulled(machine, f"{target[method]}@{digest}", tmp_path / method)
        # How many are learned by heart differs a little from one make of CPU to the next.
        assert tiny.exact(base, adapter) >= 60


def pulled(machine: Machine, reference: str, folder: Path) -> Path:
    """The adapter as a fresh process gets it, without the right to push."""
    login = folder / "login"
    login.mkdir(parents=True)
    (login / "config.json").write_text(machine.layout.docker_config("puller").read_text())
    environment = {
        "DOCKER_CONFIG": login,
        "REQUESTS_CA_BUNDLE": machine.layout.registry_ca,
        "PYTHONPATH": recipes.ROOT,
    }
    settings = [f"{name}={value}" for name, value in environment.items()]
    tunery = ["env", *settings, sys.executable, "-m", "tunery"]
    machine.run(*tunery, "pull", reference, str(folder / "adapter"))
    return next(
        Path(found)
        for found, _, files in os.walk(folder / "adapter")
        if "adapter_config.json" in files
    )
