"""Tunery installed with Helm on the project's cluster, and small real runs on it.

    from rig.installed import small, tunery  # noqa: F401  fixtures

`tunery` is the operator in its own image, from charts/tunery, once for a session. `small` is what a
user's namespace has: the push Secret, the CA, a tiny base model as an image and rows to train on.
A run of it takes seconds, on one CPU.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rig import manifests, tiny
from rig.kube import Kube, Machine, docker_secret, volume_image

from cluster import recipes
from cluster.addresses import DATA, REGISTRY
from cluster.layout import default
from cluster.lock import locked

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "tunery-system"
MODEL = f"{REGISTRY}/test/tiny-llama:1"
PARQUET = "codes.parquet"
INSTANCE_TYPE = "Standard_NC24ads_A100_v4"
APP = "tunery-test"
CONFIG = """\
training_config:
  ModelConfig: {{torch_dtype: float32}}
  LoraConfig: {{r: 16, lora_alpha: 32, target_modules: all-linear}}
  TrainingArguments:
    learning_rate: 5.0e-3
    lr_scheduler_type: linear
    per_device_train_batch_size: 16
    gradient_accumulation_steps: 1
    max_length: 64
    packing: false
    max_steps: {steps}
"""
Object = dict[str, Any]


@dataclass(frozen=True)
class Tunery:
    """The installed operator."""

    machine: Machine
    kube: Kube
    """kubectl in the operator's namespace."""

    def log(self) -> str:
        return self.kube("logs", "deployment/tunery", "--all-containers", "--tail=400")

    def metrics(self) -> str:
        """What Prometheus would scrape."""
        pod = json.loads(self.kube("get", "pods", "-o", "json"))["items"][0]["status"]["podIP"]
        return self.machine.run("curl", "-sS", f"http://{pod}:8080/metrics").stdout


@pytest.fixture(scope="package")
def tunery(machine: Machine, kube: Kube) -> Iterator[Tunery]:
    """The chart with the images of the working tree."""
    with installed(machine, kube, {}) as found:
        yield found


@contextmanager
def installed(machine: Machine, kube: Kube, more: Mapping[str, str]) -> Iterator[Tunery]:
    """Install the chart with `more` values beside the usual ones; uninstall at the end.

    Another checkout's tests of the same release wait: else each would replace the other's operator.
    """
    with locked(default(), "tests-of-the-installed"):
        yield from _installed(machine, kube, more)


def _installed(machine: Machine, kube: Kube, more: Mapping[str, str]) -> Iterator[Tunery]:
    values = {
        "image.repository": "localhost/tunery/operator",
        "image.tag": "dev",
        "image.pullPolicy": "Never",
        "tuner.image": "localhost/tunery/tuner:dev",
        "tuner.imagePullPolicy": "Never",
        "tuner.device": "cpu",
        "tuner.cpuLimit": "1",
        "tuner.memoryGiB": "1",
        # Of a machine with two cores, two serving pods need both.
        "resources.requests.cpu": "0",
        "registryCAConfigMap": "tunery-ca",
        "allowHosts[0]": DATA,
        **more,
    }
    for recipe in (recipes.tuner, recipes.operator):
        machine.image(recipe)
    label(kube)
    settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    # Another build has the same name: the operator's pod must be made anew.
    settings += ["--set-string", f"podAnnotations.test={time.time_ns()}"]
    where = (
        "--namespace",
        SYSTEM,
        "--create-namespace",
        "--take-ownership",
        "--wait",
        "--timeout=90s",
    )
    chart = str(ROOT / "charts" / "tunery")
    done = machine.helm("upgrade", "--install", "tunery", chart, *where, *settings, check=False)
    found = Tunery(machine, kube.within(SYSTEM))
    if done.returncode:
        said = found.kube.attempt("logs", "deployment/tunery", "--tail=50")
        pytest.fail(f"helm: {done.stderr}\n{said.stdout}{said.stderr}")
    yield found
    machine.helm("uninstall", "tunery", "--namespace", SYSTEM, "--wait")


def label(kube: Kube) -> None:
    """Make the node one of the type that the Workspaces name."""
    labels = (f"node.kubernetes.io/instance-type={INSTANCE_TYPE}", f"app={APP}")
    kube("label", "node", "--all", "--overwrite", *labels)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model as a folder on this side."""
    return tiny.build_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="session")
def tiny_image(machine: Machine, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny base model as an image in the registry; its rows on the data server."""
    folder = tmp_path_factory.mktemp("image") / "model"
    shutil.copytree(tiny_base, folder)
    volume_image(machine, folder, MODEL)
    tiny.write_parquet(machine.layout.web / PARQUET)
    return MODEL


@dataclass(frozen=True)
class Small:
    """A user's namespace, ready for small runs."""

    kube: Kube
    machine: Machine

    def target(self, name: str = "codes", tag: str = "1") -> str:
        """An image reference that no other test pushes to."""
        return f"{REGISTRY}/{self.kube.namespace}/{name}:{tag}"

    def config(self, name: str = "codes-training", steps: int = 4, **more: object) -> Object:
        """The ConfigMap of a run; `more` are TrainingArguments."""
        lines = "".join(f"    {key}: {value}\n" for key, value in more.items())
        data = {"training_config.yaml": CONFIG.format(steps=steps) + lines}
        metadata = {"name": name}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def workspace(self, name: str = "codes", changes: Object | None = None) -> Object:
        """A tuning Workspace that runs in seconds, with `{"tuning.input.urls": …}` over it."""
        usual: Object = {
            "metadata.name": name,
            "resource.instanceType": INSTANCE_TYPE,
            "resource.labelSelector": {"matchLabels": {"app": APP}},
            "tuning.preset": {
                "name": tiny.MODEL_ID,
                "presetOptions": {"image": MODEL, "imagePullSecrets": ["push"]},
            },
            "tuning.method": "lora",
            "tuning.config": "codes-training",
            "tuning.input": {"urls": [f"https://{DATA}/{PARQUET}"]},
            "tuning.output": {"image": self.target(name), "imagePushSecret": "push"},
        }
        return manifests.tuning({**usual, **(changes or {})})

    def status(self, name: str = "codes") -> Object:
        found: Object = self.kube.get("workspace", name).get("status", {})
        return found

    def condition(self, kind: str, name: str = "codes") -> Object:
        """One condition of a Workspace; empty when it has none of that type."""
        listed = self.status(name).get("conditions", ())
        return next((c for c in listed if c["type"] == kind), {})

    def succeeded(self, name: str = "codes", timeout_s: int = 100) -> Object:
        """The status after `kubectl wait --for=condition=WorkspaceSucceeded`."""
        what = f"workspace/{name}"
        done = self.kube.attempt(
            "wait", what, "--for=condition=WorkspaceSucceeded", f"--timeout={timeout_s}s"
        )
        assert done.returncode == 0, (done.stderr, self.status(name), self.pods())
        return self.status(name)

    def reaches(self, jsonpath: str, value: str, name: str = "codes", timeout_s: int = 60) -> None:
        """Wait until a field of the Workspace has a value."""
        condition = f"--for=jsonpath={jsonpath}={value}"
        wait = ("wait", f"workspace/{name}", condition, f"--timeout={timeout_s}s")
        done = self.kube.attempt(*wait, limit_s=timeout_s + 30)
        assert done.returncode == 0, (done.stderr, self.status(name), self.pods())

    def pods(self) -> list[Object]:
        """The pods' statuses, for whoever reads a failure."""
        return [p["status"] for p in json.loads(self.kube("get", "pods", "-o", "json"))["items"]]


@pytest.fixture
def small(tunery: Tunery, machine: Machine, tiny_image: str, namespace: Kube) -> Iterator[Small]:
    """A namespace with Secret, CA and configuration."""
    yield furnished(machine, namespace)


def furnished(machine: Machine, namespace: Kube) -> Small:
    """Put Secret, CA and configuration into a namespace."""
    secret = docker_secret("push", machine.layout.docker_config("pusher").read_text())
    authority = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "tunery-ca"},
        "data": {"ca.crt": machine.layout.registry_ca.read_text()},
    }
    ready = Small(namespace, machine)
    namespace.apply(secret, authority, ready.config())
    return ready
