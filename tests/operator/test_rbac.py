"""The chart's rights are what the operator uses: no request is forbidden, and no right is idle.

The engine runs here, as the chart's ServiceAccount, against a real API server; every request it
makes is written down. Nothing trains: its pods have an image that does not exist.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from rig.chart import Object, only, template
from rig.installed import APP, INSTANCE_TYPE, label
from rig.kube import Kube, Machine
from rig.manifests import inference, tuning
from rig.wired import wired

import presets
from cluster.network import entered
from engine import Engine
from jobs.installation import Installation
from jobs.placing import container_security, pod_security
from serving.lastwords import ServeWords
from settings import Process
from wire import Exchange, Request

Right = tuple[str, str, str]
"""(API group, resource, verb)"""
IDLE = {("kaito.sh", "workspaces/finalizers", "update")}
"""Asked for by an admission plugin that only OpenShift has."""
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v\w+(?:/namespaces/[^/]+)?/(?P<resource>[a-z]+)"
    r"(?:/(?P<name>[^/?]+))?(?:/(?P<sub>status))?$"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NO_IMAGE = {"image": "", "imageID": "", "ready": False, "restartCount": 0}
LOST, ABSENT = "tunery-test-lost", "localhost/tunery/absent:1"
CONFIG = "training_config:\n  LoraConfig: {r: 8}\n"


@dataclass
class Recorder:
    """What was asked for, and what of it was refused."""

    used: set[Right] = field(default_factory=set)
    forbidden: list[str] = field(default_factory=list)

    def around(self, exchange: Exchange) -> Exchange:
        @asynccontextmanager
        async def recorded(request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
            async with exchange(request) as response:
                self._note(request, response.status)
                yield response

        return recorded

    def _note(self, request: Request, status: int) -> None:
        url = urlsplit(request.path)
        found = _PATH.match(url.path)
        assert found, request.path
        resource = "/".join(filter(None, (found["resource"], found["sub"])))
        right = (found["group"] or "", resource)
        verb = _VERBS.get(request.method) or _reading(found["name"], parse_qs(url.query))
        self.used.add((*right, verb))
        if verb == "patch" and status == 201:
            self.used.add((*right, "create"))  # applying what is absent
        if status == 403:
            self.forbidden.append(f"{verb} {request.path}")


def _reading(name: str | None, query: dict[str, list[str]]) -> str:
    return "get" if name else "watch" if "watch" in query else "list"


def granted(objects: list[Object]) -> set[Right]:
    return {
        (group, resource, verb)
        for found in objects
        if found["kind"] in ("Role", "ClusterRole")
        for rule in found["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.fixture(scope="module")
def rights(
    crd: Kube, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Kube, list[Object]]]:
    """A namespace with the chart's account, its roles, and the webhook that they speak of."""
    name = f"rbac-{uuid.uuid4().hex[:8]}"
    crd("create", "namespace", name)
    space = crd.within(name)
    rendered = template(tmp_path_factory.mktemp("helm"), {"replicas": 2, "userRoles": False})
    kinds = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount")
    text = json.dumps([o for o in rendered if o["kind"] in kinds])
    objects: list[Object] = json.loads(text.replace("tunery-system", name))
    space.apply(*objects)
    yield space, objects
    for found in objects:
        if found["kind"].startswith("Cluster"):
            crd("delete", found["kind"].lower(), found["metadata"]["name"])
    crd("delete", "namespace", name, "--wait=false")


async def until(true: Callable[[], Any], what: str, limit_s: float = 40) -> None:
    deadline_s = time.monotonic() + limit_s
    while not await asyncio.to_thread(true):
        assert time.monotonic() < deadline_s, f"never: {what}"
        await asyncio.sleep(0.2)


def workspace(number: int) -> Object:
    return tuning(
        {
            "metadata.name": "codes",
            "resource.instanceType": INSTANCE_TYPE,
            "resource.labelSelector": {"matchLabels": {"app": APP}},
            "tuning.config": "codes",
            "tuning.output.image": f"registry.invalid/adapters/codes:{number}",
        }
    )


@pytest.mark.timeout(240)
def test_the_rights_are_what_is_used(
    machine: Machine, namespace: Kube, rights: tuple[Kube, list[Object]], tmp_path: Path
) -> None:
    system, objects = rights
    label(system)
    recorder = Recorder()
    account = only(objects, "ServiceAccount")["metadata"]["name"]
    token = system("create", "token", account).strip()
    with entered(machine.pid):
        asyncio.run(whole_life(machine, namespace, system.namespace, token, recorder))
    assert recorder.forbidden == []
    assert granted(objects) - recorder.used == IDLE
    assert recorder.used - granted(objects) == set()


async def whole_life(
    machine: Machine, user: Kube, system: str, token: str, recorder: Recorder
) -> None:
    """Twelve revisions of a Workspace, its Job edited by hand on the way."""
    installation = Installation(
        ABSENT, system, image_pull_policy="Never", vllm_image=ABSENT, lost_node_s=1
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = Process(
        metrics_port=0,
        replicas=2,
        webhook_names=("127.0.0.1",),
        webhook_port=port,
        webhook_configuration=f"{system}-tunery",
    )
    configure(user, process)
    try:
        async with wired(machine, token) as wire:
            engine = Engine(recorder.around(wire), installation, process, presets.load())
            running = asyncio.create_task(engine.run())
            try:
                await until(lambda: running.done() or not engine.unready(), "it is ready")
                await asyncio.to_thread(revise, user)
                await until(lambda: revisions(user) == 10, "the oldest revisions are gone")
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    finally:
        user("delete", "validatingwebhookconfiguration", process.webhook_configuration)


def revise(user: Kube) -> None:
    user.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "codes"},
            "data": {"training_config.yaml": CONFIG},
        }
    )
    for number in range(1, 13):
        user.apply(workspace(number))
        wanted = f"jsonpath={{.metadata.annotations.workspace\\.kaito\\.io/revision}}={number}"
        user.wait("job/codes", "create")
        user.wait("job/codes", wanted)
    serve(user)
    change_live_adapters(user)
    user("patch", "job", "codes", "--type=merge", '-p={"spec":{"backoffLimit":99}}')
    user.wait("job/codes", "jsonpath={.spec.backoffLimit}=3")


def serve(user: Kube) -> None:
    """A model, by a StatefulSet that is made anew once, as KAITO's is that had no such label."""
    user.apply(inference({"metadata.name": "serve", "resource": workspace(1)["resource"]}))
    user.wait("statefulset/serve", "create")
    old = user.get("statefulset", "serve")["metadata"]["uid"]
    user("label", "statefulset", "serve", "tunery.sh/run-")
    user.attempt("wait", "statefulset/serve", "--for=delete", "--timeout=20s")
    user.wait("statefulset/serve", "create")
    assert user.get("statefulset", "serve")["metadata"]["uid"] != old


def change_live_adapters(user: Kube) -> None:
    """A pod that has another set than the plan is told so."""
    marks = {"tunery.sh/live-adapters": "true"}
    where = {"metadata.name": "live", "resource": workspace(1)["resource"]}
    user.apply(inference({**where, "metadata.annotations": marks}))
    user.wait("statefulset/live", "create")
    labels = user.get("statefulset", "live")["spec"]["template"]["metadata"]["labels"]
    container = {"image": ABSENT, "securityContext": container_security()}
    spec = {
        "securityContext": pod_security(),
        # Nobody starts it, so its status is what is written here.
        "schedulingGates": [{"name": "tunery.test/never"}],
        "initContainers": [{"name": "prepare", **container}],
        "containers": [{"name": "live", **container}],
    }
    metadata = {"name": "stand-in", "labels": labels}
    user.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    words = ServeWords(state="done", adapter_set="another").encoded().decode()
    ended = {"terminated": {"exitCode": 0, "message": words}}
    status = {"initContainerStatuses": [{"name": "prepare", "state": ended} | _NO_IMAGE]}
    patch = json.dumps({"status": status})
    user("patch", "pod", "stand-in", "--subresource=status", "--type=merge", f"-p={patch}")
    user.wait("pod/stand-in", "jsonpath={.metadata.annotations.tunery\\.sh/adapters}")
    give_up(user, labels)


def give_up(user: Kube, labels: Object) -> None:
    """A pod of a node that never answers is deleted, and then really goes."""
    user.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": LOST}})
    container = {"name": "live", "image": ABSENT, "securityContext": container_security()}
    where = {"nodeName": LOST, "terminationGracePeriodSeconds": 1}
    spec = {**where, "securityContext": pod_security(), "containers": [container]}
    metadata = {"name": "kept", "labels": labels}
    user.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    user("delete", "pod", "kept", "--wait=false")
    user.wait("pod/kept", "delete")
    user("delete", "node", LOST)


def revisions(user: Kube) -> int:
    """Of the Workspace that tunes."""
    chosen = ("-l", "workspace.kaito.io/name=codes", "-o", "json")
    return len(json.loads(user("get", "controllerrevisions", *chosen))["items"])


def configure(user: Kube, process: Process) -> None:
    """The webhook's configuration, of which the account may write only this one."""
    hook = {
        "name": "validation.workspace.kaito.sh",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": user.namespace}},
        "rules": [
            {
                "apiGroups": ["kaito.sh"],
                "apiVersions": ["v1beta1"],
                "resources": ["workspaces"],
                "operations": ["CREATE", "UPDATE"],
            }
        ],
        "clientConfig": {
            "url": f"https://127.0.0.1:{process.webhook_port}/validate/workspace.kaito.sh"
        },
    }
    user.apply(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": process.webhook_configuration},
            "webhooks": [hook],
        }
    )
