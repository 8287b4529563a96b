"""What any pod may count on: a node, DNS, Services, logs, exec, rights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rig.kube import Kube, Machine, pod

from cluster.addresses import NODE
from cluster.recipes import ROOT


def test_the_node_is_ready_and_can_mount_image_volumes(kube: Kube, machine: Machine) -> None:
    node = kube.get("node", NODE)
    ready = {c["type"]: c["status"] for c in node["status"]["conditions"]}
    assert ready["Ready"] == "True"
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.3"
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"] == "containerd://2.4.2"
    assert node["status"]["addresses"][0] == {"type": "InternalIP", "address": "10.88.0.1"}


def test_another_checkout_finds_the_cluster_by_its_state_folder(
    machine: Machine, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "cluster", tmp_path / "cluster")
    found = "from cluster import layout, machine; print(machine.find(layout.default()))"
    command = [sys.executable, "-c", found]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [str(machine.pid)]
    elsewhere = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    said = subprocess.run(
        command, cwd=tmp_path, env=elsewhere, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["None"]


def test_a_restricted_pod_runs_serves_logs_and_takes_commands(namespace: Kube) -> None:
    serve = "echo hello > /tmp/index.html; exec httpd -f -v -p 8000 -h /tmp"
    scratch = {"name": "tmp", "emptyDir": {}}
    mount = {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
    namespace.apply(
        pod("web", "sh", "-c", serve, volumes=[scratch], container=mount),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8000}]},
        },
        pod("client"),
    )
    namespace.wait("pod/web", "condition=Ready")
    namespace.wait("pod/client", "condition=Ready")
    address = namespace.get("service", "web")["spec"]["clusterIP"]
    for name in (address, "web", f"web.{namespace.namespace}.svc.cluster.local"):
        # A Service follows its pods within a second or two, as on any cluster.
        fetch = f"for _ in 1 2 3 4 5; do wget -q -O- http://{name}/ && exit; sleep 1; done"
        said = namespace("exec", "client", "--", "sh", "-c", fetch)
        assert said == "hello\n", name
    assert namespace("exec", "client", "--", "id", "-u") == "10001\n"
    assert "response:200" in namespace("logs", "web")


def test_a_pod_that_asks_for_more_is_refused(namespace: Kube) -> None:
    greedy = pod("greedy", container={"securityContext": {"privileged": True}})
    done = namespace.attempt("apply", "-f", "-", stdin=json.dumps(greedy))
    assert done.returncode != 0
    assert 'violates PodSecurity "restricted' in done.stderr


def test_no_packet_leaves(namespace: Kube, machine: Machine) -> None:
    namespace.apply(pod("client"))
    namespace.wait("pod/client", "condition=Ready")
    done = namespace.attempt("exec", "client", "--", "timeout", "5", "nc", "192.0.2.1", "80")
    assert done.returncode != 0
    assert "unreachable" in done.stderr.lower()


def test_an_account_may_do_what_its_role_says_and_no_more(namespace: Kube) -> None:
    me = f"--as=system:serviceaccount:{namespace.namespace}:reader"
    namespace("create", "serviceaccount", "reader")
    assert namespace.attempt("get", "pods", me).returncode != 0
    namespace("create", "role", "reader", "--verb=get,list", "--resource=pods")
    namespace(
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        f"--serviceaccount={namespace.namespace}:reader",
    )
    assert namespace.attempt("get", "pods", me).returncode == 0
    denied = namespace.attempt("get", "secrets", me)
    assert denied.returncode != 0
    assert "forbidden" in denied.stderr.lower()


def test_a_pod_with_a_token_reaches_the_api_as_its_account(namespace: Kube) -> None:
    script = (
        "d=/var/run/secrets/kubernetes.io/serviceaccount; [ -s $d/token ] && [ -s $d/ca.crt ] && "
        "cut -d. -f2 $d/token"
    )
    namespace.apply(pod("teller", "sh", "-c", script, automountServiceAccountToken=True))
    namespace.wait("pod/teller", "jsonpath={.status.phase}=Succeeded")
    token = namespace("create", "token", "default").strip()
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token},
    }
    answer = json.loads(namespace("create", "-o", "json", "-f", "-", stdin=json.dumps(review)))
    assert answer["status"]["user"]["username"].endswith(f"{namespace.namespace}:default")


@pytest.mark.parametrize(("verb", "part"), [("get", "log"), ("create", "exec"), ("get", "proxy")])
def test_rights_on_pods_do_not_include(namespace: Kube, verb: str, part: str) -> None:
    account = f"{namespace.namespace}:default"
    namespace("create", "role", "all", "--verb=get,list,create", "--resource=pods")
    namespace("create", "rolebinding", "all", "--role=all", f"--serviceaccount={account}")
    me = f"--as=system:serviceaccount:{account}"
    assert namespace.attempt("auth", "can-i", verb, "pods", me).stdout.strip() == "yes"
    done = namespace.attempt("auth", "can-i", verb, "pods", f"--subresource={part}", me)
    assert done.stdout.strip() == "no"
