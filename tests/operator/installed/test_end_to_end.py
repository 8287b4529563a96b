"""`kubectl apply` → Job → adapter image, on a real cluster with a real registry.

KAITO's end-to-end cases 1 and 2 (test/e2e/preset_test.go, told in research/kaito.md §9), and what a
user sees, changes, deletes and edits on the way.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rig import tiny
from rig.installed import PARQUET, Small, Tunery
from rig.kube import volume_image

from cluster import recipes
from cluster.addresses import REGISTRY

pytestmark = pytest.mark.timeout(300)
Object = dict[str, Any]


def job(small: Small, name: str = "codes") -> Object:
    return small.kube.get("job", name)


def annotation(found: Object, name: str) -> str:
    return str(found["metadata"]["annotations"].get(f"workspace.kaito.io/{name}", ""))


def pulled(small: Small, reference: str, folder: Path) -> Path:
    """The adapter folder, pulled with a login that may only pull."""
    login = folder / "login"
    login.mkdir(exist_ok=True)
    (login / "config.json").write_text(small.machine.layout.docker_config("puller").read_text())
    settings = {
        "DOCKER_CONFIG": login,
        "REQUESTS_CA_BUNDLE": small.machine.layout.registry_ca,
        "PYTHONPATH": recipes.ROOT,
    }
    environment = [f"{name}={value}" for name, value in settings.items()]
    command = (sys.executable, "-m", "tunery", "pull", reference, str(folder / "adapter"))
    small.machine.run("env", *environment, *command)
    return next((folder / "adapter").rglob("adapter_config.json")).parent


def test_an_applied_workspace_ends_with_a_digest_that_answers(
    small: Small, tiny_base: Path, tmp_path: Path
) -> None:
    small.kube.apply(small.config(steps=160), small.workspace())
    status = small.succeeded()
    output = status["output"]
    assert status["state"] == "Succeeded"
    assert output["image"] == small.target()
    reference = f"{small.target().rpartition(':')[0]}@{output['digest']}"
    adapter = pulled(small, reference, tmp_path)
    assert tiny.exact(tiny_base, None) == 0
    assert tiny.exact(tiny_base, adapter) == 64

    table = small.kube("get", "workspace", "codes").splitlines()
    assert table[0].split()[:2] == ["NAME", "INSTANCE"]
    for column in ("RESOURCEREADY", "JOBSTARTED", "WORKSPACESUCCEEDED", "STATE", "PROGRESS"):
        assert column in table[0]
    assert "Succeeded" in table[1] and "100" in table[1]

    events = json.loads(small.kube("get", "events", "-o", "json"))["items"]
    told = [e for e in events if e["involvedObject"]["kind"] == "Workspace"]
    reasons = [e["reason"] for e in told]
    assert len(reasons) == len(set(reasons)), reasons
    assert any(output["digest"] in e["message"] for e in told)


@pytest.mark.long
def test_a_finished_run_is_never_run_again_by_itself(small: Small) -> None:
    small.kube.apply(small.workspace())
    before = small.succeeded()
    small.kube("delete", "job", "codes", "--wait=true")
    small.kube("annotate", "workspace", "codes", "note=look-again")
    # The operator has seen the annotation once its next status write, of another Workspace, is in.
    small.kube.apply(small.workspace("another"))
    small.reaches("{.status.run.revision}", "1", name="another")
    assert small.kube.attempt("get", "job", "codes").returncode != 0
    after = small.status()
    assert after["output"] == before["output"] and after["state"] == "Succeeded"


@pytest.mark.long
def test_another_input_and_output_make_another_revision(
    small: Small, tmp_path: Path, tunery: Tunery
) -> None:
    """KAITO's e2e 1: a data image in, an image out; then both change."""
    inputs = []
    for number in (1, 2):
        folder = tmp_path / f"image-{number}"
        (folder / "data").mkdir(parents=True)
        tiny.write_parquet(folder / "data" / f"codes-{number}.parquet")
        inputs.append(f"{REGISTRY}/{small.kube.namespace}/data:{number}")
        volume_image(small.machine, folder, inputs[-1])
    for number, data in enumerate(inputs, start=1):
        target = small.target(tag=str(number))
        source = {"image": data, "imagePullSecrets": ["push"]}
        output = {"image": target, "imagePushSecret": "push"}
        small.kube.apply(small.workspace(changes={"tuning.input": source, "tuning.output": output}))
        small.reaches("{.status.run.revision}", str(number))
        small.reaches("{.status.run.outcome}", "Succeeded", timeout_s=100)
        status = small.succeeded()
        found, run = small.kube.get("workspace", "codes"), job(small)
        assert status["output"]["image"] == target
        assert run["status"]["succeeded"] == 1 and run["status"]["completionTime"]
        assert annotation(found, "revision") == annotation(run, "revision") == str(number)
        revision = small.kube.get("controllerrevision", f"codes-{annotation(found, 'hash')[:5]}")
        assert revision["revision"] == number
    assert len(json.loads(small.kube("get", "controllerrevisions", "-o", "json"))["items"]) == 2


@pytest.fixture
def claims(small: Small) -> dict[str, Path]:
    """Two claims bound to folders of the node, as an administrator would make them."""
    folders = {}
    for name in ("input", "output"):
        folder = small.machine.layout.state / "volumes" / f"{small.kube.namespace}-{name}"
        folder.mkdir(parents=True)
        folder.chmod(0o777)
        folders[name] = folder
        small.kube.apply(*claim(small.kube.namespace, name, folder))
    tiny.write_parquet(folders["input"] / PARQUET)
    return folders


def claim(namespace: str, name: str, folder: Path) -> tuple[Object, Object]:
    size = {"storage": "1Gi"}
    shared = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{name}"},
        "spec": {
            **shared,
            "capacity": size,
            "hostPath": {"path": str(folder)},
            "claimRef": {"namespace": namespace, "name": name},
        },
    }
    wanted = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            **shared,
            "resources": {"requests": size},
            "volumeName": f"{namespace}-{name}",
        },
    }
    return volume, wanted


@pytest.mark.long
def test_volumes_in_and_out(small: Small, claims: dict[str, Path], tiny_base: Path) -> None:
    """KAITO's e2e 2: claims for input and output, two rounds."""
    for number in (1, 2):
        small.kube.apply(
            small.config(steps=160 * number),
            small.workspace(
                changes={
                    "tuning.input": {
                        "volumeSource": {"persistentVolumeClaim": {"claimName": "input"}}
                    },
                    "tuning.output": {
                        "volumeSource": {"persistentVolumeClaim": {"claimName": "output"}}
                    },
                }
            ),
        )
        small.reaches("{.status.run.revision}", str(number))
        small.reaches("{.status.run.outcome}", "Succeeded", timeout_s=150)
        names = {v["name"] for v in job(small)["spec"]["template"]["spec"]["volumes"]}
        assert {"data", "output"} <= names
        assert (claims["output"] / "adapter_config.json").stat().st_mode & 0o444 == 0o444
        assert tiny.exact(tiny_base, claims["output"]) == 64


@pytest.mark.long
def test_an_edited_config_map_runs_again(small: Small) -> None:
    small.kube.apply(small.workspace())
    first = small.succeeded()
    small.kube.apply(small.config(steps=5))
    small.reaches("{.status.run.revision}", "2")
    small.reaches("{.status.run.outcome}", "Succeeded", timeout_s=100)
    second = small.status()
    assert second["output"]["digest"] != first["output"]["digest"]
    assert second["progress"]["of"] == 5

    # Going back gives the first adapter again, byte for byte, under the revision it had.
    small.kube.apply(small.config())
    small.reaches("{.status.run.revision}", "1")
    small.reaches("{.status.run.outcome}", "Succeeded", timeout_s=100)
    assert small.status()["output"]["digest"] == first["output"]["digest"]


@pytest.mark.long
def test_a_change_while_it_trains_stops_the_old_run_first(small: Small) -> None:
    small.kube.apply(small.config(steps=4000), small.workspace())
    small.reaches("{.status.state}", "Running")
    old = job(small)["metadata"]["uid"]
    small.kube.apply(small.config(steps=4))
    small.reaches("{.status.run.outcome}", "Succeeded", timeout_s=120)
    assert job(small)["metadata"]["uid"] != old
    status = small.status()
    assert status["run"]["revision"] == 2 and status["progress"]["of"] == 4


@pytest.mark.long
def test_a_job_deleted_while_it_trains_comes_back(small: Small) -> None:
    small.kube.apply(small.config(steps=400), small.workspace())
    small.reaches("{.status.state}", "Running")
    old = job(small)["metadata"]["uid"]
    small.kube("delete", "job", "codes", "--wait=true")
    small.succeeded(timeout_s=110)
    assert job(small)["metadata"]["uid"] != old
    assert small.status()["run"]["revision"] == 1


@pytest.mark.long
def test_what_was_edited_by_hand_is_put_back(small: Small) -> None:
    small.kube.apply(small.config(steps=2000), small.workspace())
    small.reaches("{.status.state}", "Running")
    wanted = job(small)["spec"]["backoffLimit"]
    small.kube("patch", "job", "codes", "--type=merge", "-p", '{"spec":{"backoffLimit":99}}')
    small.kube("label", "job", "codes", "tunery.sh/run=other", "--overwrite")
    small.kube(
        "wait", "job/codes", f"--for=jsonpath={{.spec.backoffLimit}}={wanted}", "--timeout=20s"
    )
    small.kube("delete", "configmap", "-l", "tunery.sh/run", "--wait=true")
    small.kube("wait", "configmap", "-l", "tunery.sh/run", "--for=create", "--timeout=20s")
    small.kube("delete", "workspace", "codes", "--wait=true")
    small.kube("wait", "job/codes", "--for=delete", "--timeout=60s")
    left = json.loads(small.kube("get", "configmap", "-l", "tunery.sh/run", "-o", "json"))["items"]
    assert left == []


@pytest.mark.long
def test_both_versions_are_served(small: Small) -> None:
    body = small.workspace()
    body["apiVersion"] = "kaito.sh/v1alpha1"
    small.kube.apply(body)
    assert small.succeeded()["output"]["digest"].startswith("sha256:")
    old = json.loads(small.kube("get", "workspaces.v1alpha1.kaito.sh", "codes", "-o", "json"))
    assert old["apiVersion"] == "kaito.sh/v1alpha1"
