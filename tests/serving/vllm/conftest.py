"""A pod of jobs/serve.py's own template with the real vLLM in it, once for all its tests."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig.kube import RESTRICTED, Kube, Machine, Object, docker_secret, kube, machine, volume_image
from rig.loras import lora
from rig.manifests import inference
from rig.tiny import MODEL_ID

from cluster import recipes
from cluster.addresses import REGISTRY
from jobs.context import Context
from jobs.installation import Installation
from jobs.marks import Owner
from jobs.serve import serve
from jobs.serving.order import order
from jobs.serving.sources import Surroundings, resolve
from jobs.workspace import parse
from presets import load

__all__ = ["kube", "machine"]

NAME = "tiny"
TOGETHER = "both"
STRENGTHS = {"half": ("facts", 0.5), "whole": ("facts", 1.0), "off": ("facts", 0.0)}
STRENGTHS["style"] = ("style", 0.7)
"""What is served: adapters by name, each an image with a strength."""
START_LIMIT_S, LOOK_S = 480, 20


@dataclass(frozen=True)
class Served:
    """A running server and what it was made of."""

    kube: Kube
    machine: Machine
    url: str
    """Of the Service, from inside the cluster's network but not from the pod."""
    base: Path
    adapters: dict[str, Path]

    def __call__(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and answer; a body is posted."""
        sent = [] if body is None else ["-H", "Content-Type: application/json", "-d", "@-"]
        command = ["curl", "-sS", "-m", "60", "-w", "\n%{http_code}", *sent, self.url + path]
        stdin = ["sh", "-c", 'printf %s "$1" | { shift; "$@"; }', "sh", json.dumps(body)]
        text, _, status = self.machine.run(*stdin, *command).stdout.rpartition("\n")
        try:
            return int(status), json.loads(text)
        except ValueError:
            return int(status), text


@pytest.fixture(scope="package")
def adapters(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters of different ranks and modules."""
    root = tmp_path_factory.mktemp("adapters")
    style = lora(tiny, root / "style", 2, r=12, target_modules=["q_proj", "v_proj"])
    return {"facts": lora(tiny, root / "facts", 1), "style": style}


@pytest.fixture(scope="package")
def served(machine: Machine, kube: Kube, tiny: Path, adapters: dict[str, Path]) -> Iterator[Served]:
    """The Workspace below, served in a namespace of its own."""
    namespace = f"vllm-{uuid.uuid4().hex[:8]}"
    metadata = {"name": namespace, "labels": RESTRICTED}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    own = kube.within(namespace)
    own.wait("serviceaccount/default", "create")
    images = {"base": tiny, **adapters}
    for name, folder in images.items():
        volume_image(machine, folder, f"{REGISTRY}/{namespace}/{name}:1")
    installation = Installation(
        tuner_image=machine.image(recipes.tuner),
        vllm_image=machine.image(recipes.vllm_cpu),
        image_pull_policy="Never",
        auto_provisioning=False,
        device="cpu",
        cpu_limit="1",
        serving_memory_gib=4,
    )
    login = docker_secret("pull", machine.layout.docker_config("puller").read_text())
    own.apply(login, *_objects(namespace, installation))
    _wait(own)
    address = own.get("service", NAME)["spec"]["clusterIP"]
    yield Served(own, machine, f"http://{address}", tiny, adapters)
    kube("delete", "namespace", namespace, "--wait=false")


def _wait(own: Kube) -> None:
    """Until the server is ready; fails as soon as it has ended once."""
    ready = ("--for=jsonpath={.status.readyReplicas}=1", f"--timeout={LOOK_S}s")
    for _ in range(START_LIMIT_S // LOOK_S):
        if own.attempt("wait", f"statefulset/{NAME}", *ready).returncode == 0:
            return
        status = own.get("pod", f"{NAME}-0")["status"]
        found = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        if any(one["restartCount"] for one in found):
            break
    said = own.attempt("logs", f"{NAME}-0", f"-c={NAME}", "--previous", "--tail=80").stdout
    pytest.fail(f"no server:\n{own('describe', 'pods')[-3000:]}\n{said[-8000:]}")


def _objects(namespace: str, installation: Installation) -> tuple[Object, ...]:
    """What the operator would make of the Workspace, without the Workspace."""
    catalog = load()
    body = inference(_workspace(namespace))
    workspace, problems = parse(body)
    assert workspace is not None and not problems
    preset = catalog.preset(MODEL_ID)
    assert preset is not None
    sources = resolve(workspace, preset, Surroundings({}, image_volumes=True))
    text = yaml.safe_dump({"vllm": {"dtype": "float32"}})
    maps = {(namespace, "flags"): {"inference_config.yaml": text}}
    made = order(workspace, "a" * 64, 1, sources, None, 0, Context(catalog, maps), installation)
    return serve(made, Owner(namespace, NAME, ""), installation)


def _workspace(namespace: str) -> dict[str, Any]:
    def image(name: str) -> Object:
        return {"image": f"{REGISTRY}/{namespace}/{name}:1", "imagePullSecrets": ["pull"]}

    return {
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "annotations": {"tunery.sh/together": TOGETHER},
        },
        "resource": {"labelSelector": {"matchLabels": {"kubernetes.io/os": "linux"}}},
        "inference": {
            "preset": {"name": MODEL_ID, "presetOptions": image("base")},
            "config": "flags",
            "adapters": [
                {"source": {"name": name, **image(of)}, "strength": str(strength)}
                for name, (of, strength) in STRENGTHS.items()
            ],
        },
    }
