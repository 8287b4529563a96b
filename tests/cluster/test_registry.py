"""The registry and the web server beside the cluster: users, trust, volumes, and what breaks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from rig.fault_proxy import CutResponse, Rule, Status, running_proxy
from rig.kube import Kube, Machine, Object, docker_secret, pod, volume_image

from cluster import addresses, images
from cluster.faults import without_registry
from cluster.network import entered
from cluster.trouble import CommandFailed

WEIGHTS = f"{addresses.REGISTRY}/test/weights:1"


@pytest.fixture(scope="module")
def weights(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image in the registry with one file, /weights/model.txt."""
    folder = tmp_path_factory.mktemp("context") / "image"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "model.txt").write_text("bits\n")
    volume_image(machine, folder, WEIGHTS)
    return WEIGHTS


def pull_secret(machine: Machine) -> Object:
    return docker_secret("pull", machine.layout.docker_config("puller").read_text())


def reader(image: str, *, secret: str | None) -> Object:
    secrets = {"imagePullSecrets": [{"name": secret}]} if secret else {}
    volume = {"name": "w", "image": {"reference": image, "pullPolicy": "Always"}}
    mount = {"volumeMounts": [{"name": "w", "mountPath": "/w", "subPath": "weights"}]}
    return pod("reader", "cat", "/w/model.txt", volumes=[volume], container=mount, **secrets)


def why_waiting(namespace: Kube, name: str) -> str:
    namespace.wait(f"pod/{name}", "jsonpath={.status.containerStatuses[0].state.waiting.message}")
    status = namespace.get("pod", name)["status"]
    return str(status["containerStatuses"][0]["state"]["waiting"]["message"])


def test_a_pod_mounts_an_image_volume_with_a_pull_secret(
    namespace: Kube, machine: Machine, weights: str
) -> None:
    namespace.apply(pull_secret(machine), reader(weights, secret="pull"))
    namespace.wait("pod/reader", "jsonpath={.status.phase}=Succeeded")
    assert namespace("logs", "reader") == "bits\n"


def test_a_pod_without_the_secret_is_told_so(namespace: Kube, weights: str) -> None:
    namespace.apply(reader(weights, secret=None))
    assert "authorization failed" in why_waiting(namespace, "reader")


def test_a_wrong_password_is_a_401(namespace: Kube, weights: str) -> None:
    wrong = {"auths": {addresses.REGISTRY: {"username": "puller", "password": "wrong"}}}
    secret = docker_secret("pull", json.dumps(wrong))
    namespace.apply(secret, reader(weights, secret="pull"))
    assert "401 Unauthorized" in why_waiting(namespace, "reader")


def test_an_image_that_is_not_there_is_not_found(namespace: Kube, machine: Machine) -> None:
    image = f"{addresses.REGISTRY}/test/nothing:1"
    namespace.apply(pull_secret(machine), reader(image, secret="pull"))
    assert "not found" in why_waiting(namespace, "reader")


def test_the_pulling_user_cannot_push(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "x").write_text("x")
    recipe = tmp_path / "Containerfile"
    recipe.write_text("FROM scratch\nCOPY . /\n")
    images.build(machine.layout, recipe, tmp_path / "image", "localhost/refused")
    target = f"{addresses.REGISTRY}/test/refused:1"
    with pytest.raises(CommandFailed, match=r"denied|403|forbidden"):
        images.push(machine.layout, machine.pid, "localhost/refused", target, user="puller")
    images.remove(machine.layout, "localhost/refused")


@pytest.mark.alone
def test_a_registry_that_is_down_is_told_and_comes_back(
    namespace: Kube, machine: Machine, weights: str
) -> None:
    with without_registry(machine.layout, machine.pid):
        namespace.apply(pull_secret(machine), reader(weights, secret="pull"))
        assert "502 Bad Gateway" in why_waiting(namespace, "reader")
    # The kubelet backs off from 10 s on; a new pod need not wait for that.
    namespace("delete", "pod", "reader", "--now")
    namespace.apply(reader(weights, secret="pull"))
    namespace.wait("pod/reader", "jsonpath={.status.phase}=Succeeded")


@pytest.mark.alone
def test_the_fault_proxy_stands_before_the_registry_while_it_listens(
    namespace: Kube, machine: Machine, weights: str
) -> None:
    registry = f"127.0.0.1:{addresses.REGISTRY_PORT}"
    with (
        entered(machine.pid),
        running_proxy(registry, addresses.REGISTRY_FAULTS_PORT) as proxy,
    ):
        # containerd itself waits and retries after a 429, so a refusal that it does not retry.
        proxy.rules.append(Rule("HEAD", "/manifests/", Status(403), times=100))
        namespace.apply(pull_secret(machine), reader(weights, secret="pull"))
        assert "403 Forbidden" in why_waiting(namespace, "reader")
        assert {seen.status for seen in proxy.log_of("HEAD", "/manifests/")} == {403}
    namespace("delete", "pod", "reader", "--now")
    namespace.apply(reader(weights, secret="pull"))
    namespace.wait("pod/reader", "jsonpath={.status.phase}=Succeeded")


def test_data_files_come_over_tls_in_ranges_and_break_on_order(machine: Machine) -> None:
    content = bytes(range(256)) * 64
    (machine.layout.web / "rows.parquet").write_bytes(content)
    url = f"https://{addresses.DATA}/rows.parquet"
    curl = ["curl", "-sS", "--cacert", str(machine.layout.registry_ca)]
    whole = machine.run("sh", "-c", f"{' '.join(curl)} {url} | sha256sum").stdout.split()[0]
    assert whole == hashlib.sha256(content).hexdigest()
    part = machine.run(
        *curl, "-o", "/dev/null", "-r", "10-19", "-w", "%{http_code} %{size_download}", url
    )
    assert part.stdout == "206 10"
    server = f"127.0.0.1:{addresses.DATA_PORT}"
    with entered(machine.pid), running_proxy(server, addresses.DATA_FAULTS_PORT) as proxy:
        proxy.rules.append(Rule("GET", "rows", CutResponse(100)))
        assert machine.run(*curl, "-o", "/dev/null", url, check=False).returncode != 0
        assert machine.run(*curl, "-o", "/dev/null", url).returncode == 0


def test_nobody_gets_in_without_the_registrys_own_ca(machine: Machine) -> None:
    done = machine.run("curl", "-sS", f"https://{addresses.REGISTRY}/v2/", check=False)
    assert done.returncode == 60
    trusting = ("--cacert", str(machine.layout.registry_ca), "-w", "%{http_code}")
    done = machine.run("curl", "-sS", *trusting, f"https://{addresses.REGISTRY}/v2/")
    assert done.stdout.endswith("401")
    assert json.loads(done.stdout[:-3])["errors"][0]["code"] == "UNAUTHORIZED"
