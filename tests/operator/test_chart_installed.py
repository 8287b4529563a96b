"""The chart on a real cluster: what a user sees through kubectl, upgrades, what uninstalling keeps.

In a release of its own, in a namespace held to Pod Security "restricted".
"""

from __future__ import annotations

import base64
import datetime
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from rig.kube import Kube, Machine
from rig.manifests import ABSENT, changed, inference, tuning
from rig.refusals import refusal
from rig.release import Release

from certificates import make

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]
V1ALPHA1 = "kaito.sh/v1alpha1"
DENIED = 'admission webhook "validation.workspace.kaito.sh" denied the request: '
BAD = tuning({"tuning.preset.name": "no-such-model"})
Body = dict[str, Any]


@pytest.fixture(scope="module")
def release(machine: Machine, kube: Kube) -> Iterator[Release]:
    made = Release(machine, kube.within("tunery-chart"))
    try:
        made.build()
        made.install()
        yield made
    finally:
        made.remove()


def said(kube: Kube, body: Body, *how: str) -> str:
    """Everything that kubectl prints."""
    done = kube.attempt(*(how or ("create",)), "-f", "-", stdin=json.dumps(body))
    return done.stdout + done.stderr


def test_it_is_ready_and_has_restarted_nothing(release: Release) -> None:
    (pod,) = release.pods()
    (status,) = pod["status"]["containerStatuses"]
    assert status["ready"] and status["restartCount"] == 0
    assert "WARNING" not in release.log() and "ERROR" not in release.log()


@pytest.mark.parametrize("version", ["kaito.sh/v1beta1", V1ALPHA1])
def test_all_problems_are_lines_of_one_refusal(
    release: Release, namespace: Kube, version: str
) -> None:
    body = tuning(
        {
            "apiVersion": version,
            "tuning.preset.name": "phi-4-mini-instrukt",
            "tuning.input.urls": ["http://localhost/x", "ftp://data.invalid/y"],
            "tuning.config": "absent",
        }
    )
    lines = refusal(namespace, body).strip().split("\n")
    assert lines[0].startswith("Error from server (BadRequest): error when creating")
    assert (
        DENIED + "invalid value: Unsupported tuning preset name phi-4-mini-instrukt: " in lines[0]
    )
    assert lines[0].endswith('did you mean "phi-4-mini-instruct"?')
    assert [line.split(";")[0] for line in lines[1:]] == [
        "invalid value: data source URL must not target a local or metadata endpoint: "
        "tuning.input.urls[0]",
        "invalid value: data source URL must use HTTP or HTTPS: tuning.input.urls[1]",
        f"ConfigMap 'absent' specified in 'config' not found in namespace '{namespace.namespace}': "
        "tuning.config",
    ]


def test_each_version_is_judged_as_it_was_written(release: Release, namespace: Kube) -> None:
    """Not converted on the way: this rule is v1alpha1's alone."""
    private = {"tuning.preset.accessMode": "private"}
    assert refusal(namespace, tuning(private)) == ""
    told = refusal(namespace, tuning({"apiVersion": V1ALPHA1, **private}))
    assert DENIED + "When AccessMode is private, an image must be provided" in told


def test_warnings_are_warnings(release: Release, namespace: Kube) -> None:
    annotated = {"metadata.annotations": {"kaito.sh/enablelb": "true"}}
    told = said(namespace, tuning(annotated))
    assert "workspace.kaito.sh/tune-phi-3 created" in told
    assert 'Warning: metadata.annotations[kaito.sh/enablelb]: "true" is ignored' in told


def test_a_misspelled_annotation_is_told_when_it_comes_and_nobody_is_asked_of_others(
    release: Release, namespace: Kube
) -> None:
    said(namespace, tuning())
    annotate = ("annotate", "workspace", "tune-phi-3")
    told = namespace.attempt(*annotate, "tunery.sh/retri=1")
    assert told.returncode == 0
    assert "Warning: metadata.annotations[tunery.sh/retri]: no such annotation" in told.stderr
    assert 'did you mean "retry"?' in told.stderr
    assert namespace.attempt(*annotate, "tunery.sh/retry=1", "example.com/x=1").stderr == ""


def test_a_file_with_configuration_and_workspace_is_applied_in_one_go(
    release: Release, namespace: Kube
) -> None:
    """Again and again: the webhook must not look at what it remembers."""
    for number in range(5):
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"config-{number}"},
            "data": {"training_config.yaml": "training_config:\n  LoraConfig: {r: 8}\n"},
        }
        name = {"metadata.name": f"tune-{number}", "tuning.config": f"config-{number}"}
        text = yaml.safe_dump_all([config, tuning(name)])
        done = namespace.attempt("apply", "-f", "-", stdin=text)
        assert done.returncode == 0, done.stderr


def test_a_generated_name_and_server_side_apply_are_judged_too(
    release: Release, namespace: Kube
) -> None:
    generated = changed(tuning(), {"metadata": {"generateName": "tune-"}})
    assert "created" in said(namespace, generated)
    assert DENIED in said(namespace, changed(BAD, {"metadata": {"generateName": "tune-"}}))
    assert DENIED in said(namespace, BAD, "apply", "--server-side")


def test_updates_are_judged_in_both_versions(release: Release, namespace: Kube) -> None:
    old = {"apiVersion": V1ALPHA1}
    namespace.apply(tuning())
    for version in ({}, old):
        worse = tuning({**version, "tuning.input.urls": ["https://10.0.0.1/x"]})
        told = refusal(namespace, worse, "replace")
        assert DENIED + "invalid value: data source URL must not target a loopback" in told
        better = tuning({**version, "tuning.output.image": "registry.invalid/adapters/phi-3:2"})
        assert refusal(namespace, better, "replace") == ""


def test_metadata_is_nobodys_business(release: Release, namespace: Kube) -> None:
    """What a rule has come to refuse since can still be annotated and deleted."""
    release.install({"webhook.enabled": False})
    namespace.apply(BAD)
    release.install()
    namespace("annotate", "workspace", "tune-phi-3", "a=b")
    namespace("label", "workspace", "tune-phi-3", "a=b")
    told = namespace.attempt("annotate", "workspace", "tune-phi-3", "kaito.sh/runtime=vllm")
    assert DENIED in told.stderr
    namespace("delete", "workspace", "tune-phi-3")


def test_while_the_operator_is_away_the_crd_refuses_and_deleting_works(
    release: Release, namespace: Kube
) -> None:
    finalized = {"metadata.finalizers": ["tunery.test/hold"]}
    namespace.apply(tuning({"metadata.name": "held", **finalized}), inference())
    release.scale(0)
    try:
        missing = {"tuning.output.imagePushSecret": ABSENT, "metadata.name": "new"}
        assert "Must specify imagePushSecret" in refusal(namespace, tuning(missing))
        assert "failed calling webhook" in refusal(namespace, tuning({"metadata.name": "new"}))
        namespace("annotate", "workspace", "held", "a=b")
        patch = json.dumps({"status": {"state": "Failed"}})
        namespace("patch", "workspace", "held", "--subresource=status", "--type=merge", "-p", patch)
        namespace("delete", "workspace", "held", "--wait=false")
        release_it = json.dumps({"metadata": {"finalizers": None}})
        namespace("patch", "workspace", "held", "--type=merge", "-p", release_it)
        namespace("wait", "workspace/held", "--for=delete", "--timeout=20s")
        namespace("delete", "workspace", "serve-phi-3")
    finally:
        release.scale(1)
    assert DENIED in refusal(namespace, BAD)


@contextmanager
def asking(kube: Kube) -> Iterator[list[str]]:
    """Bad Workspaces all the while; what was said that is no refusal of the webhook's."""
    ended, odd = threading.Event(), []

    def ask() -> None:
        while not ended.is_set():
            told = refusal(kube, BAD)
            if DENIED not in told:
                odd.append(told)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield odd
    finally:
        ended.set()
        thread.join()


def test_with_two_replicas_an_upgrade_is_not_noticed(release: Release, namespace: Kube) -> None:
    release.install({"replicas": 2})
    assert len(release.pods()) == 2
    assert bundle(release).count(b"BEGIN CERTIFICATE") >= 2
    with asking(namespace) as odd:
        release.install({"replicas": 2, "logLevel": "DEBUG"})
    assert odd == []
    until(lambda: holder(release) in {pod["metadata"]["name"] for pod in release.pods()})
    release.install({"replicas": 1})
    assert DENIED in refusal(namespace, BAD)


def holder(release: Release) -> str:
    """Who writes."""
    name: str = release.kube.get("lease", "tunery-operator")["spec"].get("holderIdentity", "")
    return name


def until(true: Callable[[], bool], limit_s: float = 40) -> None:
    deadline_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.3)


def bundle(release: Release) -> bytes:
    found = release.kube.get("validatingwebhookconfiguration", release.name)
    return base64.b64decode(found["webhooks"][0]["clientConfig"].get("caBundle", ""))


@pytest.fixture
def cert_manager(kube: Kube) -> Iterator[None]:
    """Its kinds, and nobody who does anything about them."""
    kinds = [_open_kind("Certificate"), _open_kind("Issuer")]
    kube.apply(*kinds)
    for kind in kinds:
        kube.wait(f"crd/{kind['metadata']['name']}", "condition=Established")
    yield
    for kind in kinds:
        kube("delete", "crd", kind["metadata"]["name"])


def _open_kind(kind: str) -> Body:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True}
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.cert-manager.io"},
        "spec": {
            "group": "cert-manager.io",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    }


@pytest.mark.usefixtures("cert_manager")
def test_a_certificate_of_somebody_else_is_served_and_left_alone(
    release: Release, namespace: Kube
) -> None:
    """As cert-manager would: a Secret, and a bundle that is not ours to write."""
    now = datetime.datetime.now(datetime.UTC)
    service = f"{release.name}.{release.name}.svc"
    theirs = make((service,), "somebody", datetime.timedelta(hours=1), now)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{release.name}-webhook"},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": theirs.pem.decode(), "tls.key": theirs.key.decode()},
    }
    release.kube.apply(secret)
    encoded = base64.b64encode(theirs.pem).decode()
    hook = {"name": "validation.workspace.kaito.sh", "clientConfig": {"caBundle": encoded}}
    release.install({"webhook.certManager.enabled": True})
    try:
        patch = json.dumps({"webhooks": [hook]})
        what = ("validatingwebhookconfiguration", release.name)
        release.kube("patch", *what, "--type=strategic", "-p", patch)
        assert DENIED in refusal(namespace, BAD)
        assert bundle(release) == theirs.pem
    finally:
        release.install()
    # From somebody else's certificate back to our own.
    assert DENIED in refusal(namespace, BAD)
    assert bundle(release) != theirs.pem


def test_uninstalling_keeps_workspaces_and_installing_again_goes_on(
    release: Release, namespace: Kube
) -> None:
    namespace.apply(tuning())
    uid = namespace.get("workspace", "tune-phi-3")["metadata"]["uid"]
    assert "[CustomResourceDefinition] workspaces.kaito.sh" in release.uninstall()
    assert namespace.get("workspace", "tune-phi-3")["metadata"]["uid"] == uid
    assert refusal(namespace, BAD | {"metadata": {"name": "other"}}) == ""
    assert release.kube.attempt("get", "clusterrole", release.name).returncode != 0
    release.install()
    assert namespace.get("workspace", "tune-phi-3")["metadata"]["uid"] == uid
    assert DENIED in refusal(namespace, BAD)
