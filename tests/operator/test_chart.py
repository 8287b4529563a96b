"""The chart as helm renders it: settings, rights, variants; what its schema refuses."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig.chart import CHART, NAMESPACE, ROOT, Object, helm, only, refusal, template

from jobs.context import Context
from jobs.installation import Installation
from jobs.marks import SPEC
from jobs.rules.general import CHECKED
from jobs.validate import validate_create
from jobs.workspace import parse
from presets import load
from settings import Process, read
from webhook import PATH

VALUES: Object = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
SCHEMA: Object = json.loads((CHART / "values.schema.json").read_text("utf-8"))
CERT_MANAGER = {"webhook.certManager.enabled": True}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("helm")


@pytest.fixture(scope="module")
def usual(home: Path) -> list[Object]:
    return template(home)


def container(objects: list[Object]) -> Object:
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    (found,) = pod["containers"]
    assert isinstance(found, dict)
    return found


def environment(objects: list[Object]) -> dict[str, str]:
    return {e["name"]: e.get("value", "some-pod") for e in container(objects)["env"]}


def rules(objects: list[Object]) -> Iterator[Object]:
    for found in objects:
        if found["kind"] in ("Role", "ClusterRole"):
            yield from found["rules"]


def test_helm_finds_nothing_to_complain_of(home: Path) -> None:
    done = helm(home, "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def test_its_version_is_that_of_the_project(home: Path) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert chart["version"] == chart["appVersion"] == project["version"]


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_the_default_configurations_are_those_of_the_presets(
    usual: list[Object], method: str
) -> None:
    """helm reads no file outside the chart: `cp presets/*lora.yaml charts/tunery/files/`."""
    text = (ROOT / "presets" / f"{method}.yaml").read_text("utf-8")
    assert (CHART / "files" / f"{method}.yaml").read_text("utf-8") == text
    data = only(usual, "ConfigMap", f"{method}-params-template")["data"]
    assert yaml.safe_load(data["training_config.yaml"]) == yaml.safe_load(text)


def test_the_usual_settings_are_those_of_the_operator(usual: list[Object]) -> None:
    installation, process = read(environment(usual))
    assert installation == Installation(tuner_image="tunery/tuner:0.1.0", namespace=NAMESPACE)
    assert process == Process(
        pod_name="some-pod",
        webhook_names=("tunery.tunery-system.svc",),
        webhook_configuration="tunery-system-tunery",
    )


def test_every_value_reaches_the_operator(home: Path) -> None:
    values = {
        "tuner.image": "registry.invalid/tuner:1",
        "tuner.imagePullPolicy": "Never",
        "tuner.imagePullSecrets": ["a", "b"],
        "tuner.device": "cpu",
        "tuner.cpuLimit": 1.5,
        "tuner.memoryGiB": 7,
        "tuner.backoffLimit": 0,
        "serving.vllmImage": "registry.invalid/vllm:1",
        "serving.prepareImage": "registry.invalid/prepare:1",
        "serving.imageVolumes": "never",
        "serving.memoryGiB": 9,
        "autoProvisioning": False,
        "allowHosts": ["files.invalid", "10.0.0.0/8"],
        "allowHostPath": True,
        "registryCAConfigMap": "ca",
        "insecureRegistries": ["registry.invalid:5000"],
        "hubEndpoint": "https://hub.invalid",
        "weightsRegistry": "registry.invalid/weights",
        "replicas": 2,
        "logLevel": "DEBUG",
        "metricsPort": 9090,
        "webhook.port": 9999,
        **CERT_MANAGER,
    }
    installation, process = read(environment(template(home, values)))
    assert installation == Installation(
        tuner_image="registry.invalid/tuner:1",
        namespace=NAMESPACE,
        image_pull_policy="Never",
        image_pull_secrets=("a", "b"),
        auto_provisioning=False,
        device="cpu",
        allow_hosts=("files.invalid", "10.0.0.0/8"),
        allow_host_path=True,
        registry_ca_config_map="ca",
        hub_endpoint="https://hub.invalid",
        weights_registry="registry.invalid/weights",
        insecure_registries=("registry.invalid:5000",),
        vllm_image="registry.invalid/vllm:1",
        prepare_image="registry.invalid/prepare:1",
        image_volumes="never",
        serving_memory_gib=9,
        backoff_limit=0,
        cpu_limit="1.5",
        memory_gib=7,
    )
    assert process == Process(
        metrics_port=9090,
        replicas=2,
        pod_name="some-pod",
        webhook_port=9999,
        webhook_names=("tunery.tunery-system.svc",),
        webhook_configuration="tunery-system-tunery",
        webhook_certificate="/etc/tunery/webhook",
        log_level="DEBUG",
    )


def test_every_setting_can_be_made_by_a_value(home: Path) -> None:
    text = (CHART / "templates" / "_environment.tpl").read_text("utf-8")
    fields = [f.name for kind in (Installation, Process) for f in dataclasses.fields(kind)]
    missing = [
        f for f in fields if f'"{f.upper()}"' not in text and f"TUNERY_{f.upper()}" not in text
    ]
    assert missing == ["workers"]  # nobody has needed another number


def test_the_pod_may_do_nothing_that_it_needs_not(usual: list[Object]) -> None:
    pod, main = only(usual, "Deployment")["spec"]["template"]["spec"], container(usual)
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert main["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert main["resources"]["limits"]["memory"] and main["resources"]["requests"]["cpu"]
    # Kubernetes would add TUNERY_PORT and the like for the Service, which are no settings.
    assert pod["enableServiceLinks"] is False


def test_it_has_no_right_to_secrets_and_none_to_everything(home: Path) -> None:
    for values in ({}, CERT_MANAGER, {"replicas": 2}):
        for rule in rules(template(home, values)):
            assert "secrets" not in rule["resources"]
            assert "*" not in [*rule["resources"], *rule["verbs"], *rule["apiGroups"]]
            assert rule["verbs"] and rule["resources"]


def test_users_get_what_their_role_in_the_namespace_says(home: Path, usual: list[Object]) -> None:
    view = only(usual, "ClusterRole", "tunery-system-tunery-view")
    edit = only(usual, "ClusterRole", "tunery-system-tunery-edit")
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert view["rules"][0]["verbs"] == ["get", "list", "watch"]
    names = {o["metadata"]["name"] for o in template(home, {"userRoles": False})}
    assert not any(name.endswith(("-view", "-edit")) for name in names)


def test_the_webhook_is_called_where_it_listens(usual: list[Object]) -> None:
    (hook,) = only(usual, "ValidatingWebhookConfiguration")["webhooks"]
    service, main = only(usual, "Service"), container(usual)
    assert hook["name"] == "validation.workspace.kaito.sh"
    assert hook["clientConfig"] == {
        "service": {"name": "tunery", "namespace": NAMESPACE, "path": PATH}
    }
    assert service["metadata"]["name"] == "tunery"
    (port,) = [p for p in service["spec"]["ports"] if p["port"] == 443]
    (listening,) = [p for p in main["ports"] if p["name"] == port["targetPort"]]
    assert str(listening["containerPort"]) == environment(usual)["TUNERY_WEBHOOK_PORT"]
    labels = only(usual, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_the_webhook_is_asked_about_what_rules_read_and_not_about_status(
    usual: list[Object],
) -> None:
    (hook,) = only(usual, "ValidatingWebhookConfiguration")["webhooks"]
    assert hook["rules"] == [
        {
            "apiGroups": ["kaito.sh"],
            "apiVersions": ["v1beta1", "v1alpha1"],
            "resources": ["workspaces"],
            "operations": ["CREATE", "UPDATE"],
            "scope": "Namespaced",
        }
    ]
    assert (hook["failurePolicy"], hook["timeoutSeconds"]) == ("Fail", 5)
    going, changed = hook["matchConditions"]
    assert going["expression"] == "!has(object.metadata.deletionTimestamp)"
    listed = re.findall(r"'((?:kaito|tunery)\.sh/[\w-]+)'", changed["expression"])
    # What the operator itself writes calls nobody; a new name of ours may be misspelled.
    assert sorted(listed) == sorted([*CHECKED, SPEC])


def test_cert_manager_keeps_the_certificate_when_asked(home: Path) -> None:
    objects = template(home, CERT_MANAGER)
    certificate = only(objects, "Certificate")
    assert certificate["spec"]["dnsNames"] == ["tunery.tunery-system.svc"]
    issuer = only(objects, "Issuer")["metadata"]["name"]
    assert certificate["spec"]["issuerRef"] == {"kind": "Issuer", "name": issuer}
    (volume,) = [
        v
        for v in only(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
        if "secret" in v
    ]
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]
    mounted = {m["name"]: m["mountPath"] for m in container(objects)["volumeMounts"]}
    assert mounted[volume["name"]] == environment(objects)["TUNERY_WEBHOOK_CERTIFICATE"]
    annotations = only(objects, "ValidatingWebhookConfiguration")["metadata"]["annotations"]
    assert annotations == {"cert-manager.io/inject-ca-from": "tunery-system/tunery-webhook"}
    assert all("validatingwebhookconfigurations" not in r["resources"] for r in rules(objects))


def test_an_issuer_of_the_users_own_is_used(home: Path) -> None:
    ours = {"kind": "ClusterIssuer", "name": "corp"}
    objects = template(home, {**CERT_MANAGER, "webhook.certManager.issuerRef": ours})
    assert only(objects, "Certificate")["spec"]["issuerRef"] == ours
    assert not [o for o in objects if o["kind"] == "Issuer"]


def test_without_the_webhook_nothing_of_it_is_left(home: Path) -> None:
    objects = template(home, {"webhook.enabled": False, **CERT_MANAGER})
    kinds = {o["kind"] for o in objects}
    assert not kinds & {"ValidatingWebhookConfiguration", "Certificate", "Issuer"}
    assert read(environment(objects))[1].webhook_names == ()
    assert [p["name"] for p in only(objects, "Service")["spec"]["ports"]] == ["metrics"]
    assert [v["name"] for v in only(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]]


@pytest.mark.parametrize("replicas", [1, 2])
def test_one_replica_is_never_two_and_two_agree_by_a_lease(home: Path, replicas: int) -> None:
    objects = template(home, {"replicas": replicas})
    strategy = only(objects, "Deployment")["spec"]["strategy"]["type"]
    assert strategy == ("RollingUpdate" if replicas > 1 else "Recreate")
    kinds = {o["kind"] for o in objects}
    assert ({"Role", "RoleBinding", "PodDisruptionBudget"} <= kinds) is (replicas > 1)


def test_somebody_elses_crd_is_left_alone(home: Path, usual: list[Object]) -> None:
    assert only(usual, "CustomResourceDefinition")["metadata"]["name"] == "workspaces.kaito.sh"
    kinds = {o["kind"] for o in template(home, {"crd.install": False})}
    assert "CustomResourceDefinition" not in kinds


def test_two_releases_share_no_name_but_the_default_configurations(home: Path) -> None:
    one, two = (
        {(o["kind"], o["metadata"]["name"]) for o in template(home, name=name)}
        for name in ("tunery", "other")
    )
    assert {name for _, name in one & two} == {
        "workspaces.kaito.sh",
        "lora-params-template",
        "qlora-params-template",
    }


@pytest.mark.parametrize(
    "values, told",
    [
        ({"tuner.imge": "x"}, "'imge' not allowed"),
        ({"replica": 2}, "'replica' not allowed"),
        ({"webhook.certmanager.enabled": True}, "'certmanager' not allowed"),
        ({"tuner.device": "tpu"}, "must be one of 'gpu', 'cpu'"),
        ({"replicas": 0}, "minimum"),
        ({"replicas": "2"}, "want integer"),
        ({"autoProvisioning": "no"}, "want boolean"),
        ({"allowHosts": "files.invalid"}, "want array"),
        ({"allowHosts": [""]}, "minLength"),
        ({"hubEndpoint": "hub.invalid"}, "does not match pattern"),
        ({"webhook.failurePolicy": "Maybe"}, "must be one of 'Fail', 'Ignore'"),
        ({"webhook.timeoutSeconds": 31}, "maximum"),
        ({"metricsPort": 80}, "minimum"),
        ({"image.repository": ""}, "minLength"),
        ({"logLevel": "debug"}, "must be one of"),
        ({"resources.limit.memory": "1Gi"}, "'limit' not allowed"),
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused(home: Path, values: Object, told: str) -> None:
    assert told in refusal(home, values)


def keys(part: Any, path: str = "") -> Iterator[str]:
    for key, inner in part.items() if isinstance(part, dict) else ():
        where = f"{path}.{key}".lstrip(".")
        yield where
        yield from keys(inner, where)


def known(part: Object, path: str = "") -> Iterator[str]:
    for key, inner in part.get("properties", {}).items():
        where = f"{path}.{key}".lstrip(".")
        yield where
        yield from known(inner, where)


def test_the_schema_and_the_values_know_the_same_keys() -> None:
    written, described = set(keys(VALUES)), set(known(SCHEMA))
    free = {"resources.requests.cpu", "resources.requests.memory", "resources.limits.memory"}
    assert written - described == free
    unset = {"global", "resources.claims"}
    issuer = {f"webhook.certManager.issuerRef.{key}" for key in ("group", "kind", "name")}
    assert described - written == unset | issuer


PAGE = (ROOT / "docs" / "operator.md").read_text("utf-8")


def test_every_value_is_explained() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    whole = {"resources", "webhook.certManager.issuerRef"}
    leaves = {k for k in keys(VALUES) if not any(o.startswith(f"{k}.") for o in keys(VALUES))}
    assert {k for k in leaves if not any(k.startswith(w) for w in whole)} <= told
    assert whole <= told


def test_every_right_is_explained(home: Path) -> None:
    section = PAGE.split("## Rights")[1].split("## ")[0]
    table = dict(re.findall(r"^\| ([^|]+) \| ([a-z, ]+) \|", section, re.MULTILINE))
    told = {
        (resource, verb)
        for names, verbs in table.items()
        for resource in re.findall(r"`([a-z/]+)`", names)
        for verb in verbs.split(", ")
    }
    values = {"replicas": 2, "userRoles": False}
    granted = {
        (resource, verb)
        for rule in rules(template(home, values))
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert told == granted


def test_the_first_workspace_of_the_page_is_admitted() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    workspace, problems = parse(yaml.safe_load(text))
    assert workspace is not None and problems == ()
    assert validate_create(workspace, Context(load(), config_maps={})) == ()
