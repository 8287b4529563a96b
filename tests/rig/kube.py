"""The fixtures of every suite that needs a cluster: import what you use into a conftest.py.

    from rig.kube import kube, machine, namespace  # noqa: F401

`kube` is any cluster: the one of `python -m cluster`, started here and stopped at the end unless
it ran before, or the one of TUNERY_KUBECONFIG=FILE@CONTEXT. `machine` is our own one with what
only it can do (faults, the registry beside it): tests that use it are left out for another.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import images, session, store
from cluster import machine as namespaces
from cluster.build import build, program
from cluster.layout import Layout, default
from cluster.up import Options

SETTING = "TUNERY_KUBECONFIG"
# helm keeps caches and plugins; inside the machine these are gone with it.
HELM_FOLDERS = tuple(f"HELM_{name}_HOME=/var/lib/helm" for name in ("CACHE", "CONFIG", "DATA"))
BUSYBOX = "localhost/tunery/busybox:1"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
Object = dict[str, Any]
RESTRICTED_CONTAINER: Object = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
RESTRICTED_POD: Object = {
    "restartPolicy": "Never",
    "automountServiceAccountToken": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


@dataclass(frozen=True)
class Machine:
    """Our own cluster: its folders and the host pid of its process 1."""

    layout: Layout
    pid: int

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside: its network, its names, its processes."""
        return subprocess.run(
            namespaces.inside(self.pid, argv), capture_output=True, text=True, check=check
        )

    def helm(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run helm inside, as administrator; it is built when it was not yet."""
        build(self.layout, ["helm"])
        settings = [f"KUBECONFIG={self.layout.kubeconfig}", *HELM_FOLDERS]
        return self.run("env", *settings, program(self.layout, "helm"), *argv, check=check)

    def image(self, recipe: Callable[[Layout], str]) -> str:
        """Build an image of the working tree and bring it to the node: `recipes.tuner`,
        `recipes.operator`. Its name; pods say `imagePullPolicy: Never`. After a code change only
        the code is written, in seconds."""
        name = recipe(self.layout)
        store.load(self.layout, self.pid, name)
        return name


@dataclass(frozen=True)
class Kube:
    """kubectl with a cluster and a namespace."""

    command: Sequence[str]
    namespace: str = "default"

    def __call__(self, *argv: str, stdin: str | None = None, limit_s: int = 120) -> str:
        """Standard output of kubectl; AssertionError with what it said when it fails."""
        done = self.attempt(*argv, stdin=stdin, limit_s=limit_s)
        assert done.returncode == 0, f"kubectl {' '.join(argv)}: {done.stderr.strip()}"
        return done.stdout

    def attempt(
        self, *argv: str, stdin: str | None = None, limit_s: int = 120
    ) -> subprocess.CompletedProcess[str]:
        """The finished kubectl, whatever became of it."""
        scope = [] if any(a in argv for a in ("-n", "--raw")) else ["-n", self.namespace]
        return subprocess.run(
            [*self.command, "--request-timeout=30s", *argv, *scope]
            if "--" not in argv
            else [*self.command, "--request-timeout=30s", *scope, *argv],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit_s,
        )

    def apply(self, *objects: Mapping[str, Any]) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("apply", "-f", "-", stdin=json.dumps(items))

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self("get", kind, name, "-o", "json"))
        return found

    def wait(self, what: str, *conditions: str, timeout_s: int = 60) -> None:
        """Wait for `kubectl wait --for` conditions, such as `condition=Ready`, in turn."""
        limit = ("--request-timeout=0", f"--timeout={timeout_s}s")
        deadline_s = time.monotonic() + timeout_s
        for condition in conditions:
            words = ("wait", f"--for={condition}", what, *limit)
            while (done := self.attempt(*words, limit_s=timeout_s + 30)).returncode:
                # kubectl gives up at once on what has no conditions yet, such as a CRD just made.
                passing = "accessor error" in done.stderr and time.monotonic() < deadline_s
                assert passing, f"kubectl {' '.join(words)}: {done.stderr.strip()}"
                time.sleep(0.2)

    def within(self, namespace: str) -> Kube:
        return Kube(self.command, namespace)


@dataclass(frozen=True)
class Outside:
    """A cluster that somebody else keeps, as named in the setting."""

    file: Path
    context: str


def outside(setting: str) -> Outside:
    """Read FILE@CONTEXT. Raises pytest.UsageError unless it names a context that is in FILE."""
    file, _, context = setting.rpartition("@")
    if not file:
        raise pytest.UsageError(
            f"{SETTING}={setting}: name the context too, as FILE@CONTEXT, so that no test ever "
            "touches a cluster by mistake"
        )
    if not Path(file).is_file():
        raise pytest.UsageError(f"{SETTING}: {file} is not a file")
    contexts = [c["name"] for c in yaml.safe_load(Path(file).read_text()).get("contexts", [])]
    if context not in contexts:
        raise pytest.UsageError(f"{SETTING}: {file} has no context {context!r}; it has {contexts}")
    return Outside(Path(file), context)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With another cluster, leave out what needs our own machine, and say so."""
    setting = os.environ.get(SETTING)
    if not setting:
        return
    outside(setting)
    own = {"machine", "second"}
    ours = [item for item in items if own & set(getattr(item, "fixturenames", ()))]
    if ours:
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """Our own cluster, with one fake GPU."""
    layout = default()
    with session.borrowed(layout, Options(gpus=1)) as pid:
        yield Machine(layout, pid)


@pytest.fixture(scope="session")
def kube(request: pytest.FixtureRequest) -> Kube:
    """kubectl on the cluster of the setting, else on our own."""
    setting = os.environ.get(SETTING)
    if setting:
        other = outside(setting)
        return Kube(["kubectl", f"--kubeconfig={other.file}", f"--context={other.context}"])
    own: Machine = request.getfixturevalue("machine")
    kubectl = [program(own.layout, "kubectl"), f"--kubeconfig={own.layout.kubeconfig}"]
    return Kube(namespaces.inside(own.pid, kubectl))


@pytest.fixture
def namespace(kube: Kube) -> Iterator[Kube]:
    """A namespace of its own for one test, held to Pod Security "restricted"."""
    with namespace_of_its_own(kube) as made:
        yield made


@contextmanager
def namespace_of_its_own(kube: Kube) -> Iterator[Kube]:
    """The same, for a test that needs another one."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kube.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
    )
    # A pod made before its namespace's account is refused.
    kube.within(name).wait("serviceaccount/default", "create")
    yield kube.within(name)
    kube("delete", "namespace", name, "--wait=false")


def pod(name: str, *argv: str, **spec: Any) -> Object:
    """A pod that meets "restricted" and runs `argv` in busybox; `spec` is added to its spec."""
    container: Object = {
        "name": "main",
        "image": BUSYBOX,
        "command": list(argv) or ["sleep", "infinity"],
        "securityContext": RESTRICTED_CONTAINER,
        "resources": {"limits": {"cpu": "200m", "memory": "64Mi"}},
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            **RESTRICTED_POD,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **spec,
        },
    }


def docker_secret(name: str, login: str) -> Object:
    """A Secret with a docker config.json."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": login},
    }


def volume_image(own: Machine, folder: Path, reference: str) -> None:
    """Build an image that holds only the files of `folder` and push it as `reference`."""
    for path in folder.rglob("*"):
        # safetensors are written 0600, and the pod is another user
        path.chmod(0o755 if path.is_dir() else 0o644)
    recipe = folder.parent / f"{folder.name}.Containerfile"
    recipe.write_text("FROM scratch\nCOPY . /\n")
    name = f"localhost/{uuid.uuid4().hex[:8]}"
    images.build(own.layout, recipe, folder, name)
    images.push(own.layout, own.pid, name, reference)
    images.remove(own.layout, name)
