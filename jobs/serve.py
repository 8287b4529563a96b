"""A serving → its objects: plan, StatefulSet and two Services, named as KAITO names them.

Called by jobs/decide.py (and by it for `tunery render`). Pure.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

from jobs import marks, nodes, volumes
from jobs.installation import Installation
from jobs.marks import Owner
from jobs.placing import affinity, tolerations
from jobs.rules.general import LOAD_BALANCER
from jobs.serving import mounts, pod
from jobs.serving.needs import needs
from jobs.serving.order import ServeOrder
from jobs.workspace import Workspace
from tuning.run import canonical

Object = dict[str, Any]

_HTTP = 80


def serve(order: ServeOrder, owner: Owner, installation: Installation) -> tuple[Object, ...]:
    """Everything that serves, in the order in which it is made; fresh at every call."""
    return (
        *plans(order, owner),
        *services(order, owner),
        _stateful_set(order, owner, installation),
    )


def plans(order: ServeOrder, owner: Owner) -> tuple[Object, ...]:
    """The ConfigMap that the pods read; the user's own template has none."""
    return () if order.plan is None else (_plan(order, owner),)


def services(order: ServeOrder, owner: Owner) -> tuple[Object, Object]:
    """One for clients, one that gives each pod a name."""
    return (
        _service(order.workspace, owner, headless=False),
        _service(order.workspace, owner, headless=True),
    )


def plan_name(order: ServeOrder) -> str:
    """Of the ConfigMap that holds plan.json."""
    return marks.snapshot(order.workspace.name, order.hash)


def _plan(order: ServeOrder, owner: Owner) -> Object:
    if order.plan is None:
        raise ValueError("a serving of the user's own template has no plan")
    metadata: Object = {
        "name": plan_name(order),
        "namespace": owner.namespace,
        "labels": marks.labels(owner.name, owner.namespace, order.hash),
        **owner.references(),
    }
    if order.live:
        # By it the operator knows, without reading the plan, which set it asks for.
        metadata["annotations"] = {marks.DIGEST: order.plan.adapter_set}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "immutable": not order.live,
        "data": {pod.PLAN_KEY: canonical(order.plan.model_dump(mode="json")).decode() + "\n"},
    }


def _service(workspace: Workspace, owner: Owner, *, headless: bool) -> Object:
    """The one that clients use, by name; and the one that gives each pod a name."""
    exposed = workspace.annotations.get(LOAD_BALANCER) == "True"
    port = {"name": "http", "port": _HTTP, "targetPort": pod.PORT, "protocol": "TCP"}
    selector = {marks.WORKSPACE: owner.name}
    if headless:
        spec: Object = {"clusterIP": "None", "publishNotReadyAddresses": True}
    else:
        spec = {"type": "LoadBalancer" if exposed else "ClusterIP"}
    spec |= {"selector": selector, "ports": [port]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": marks.headless(owner.name) if headless else owner.name,
            "namespace": owner.namespace,
            "labels": _labels(owner),
            # By it the operator knows, without reading Services, whether this one is as it should.
            "annotations": {marks.DIGEST: marks.short(hashlib.sha256(canonical(spec)).hexdigest())},
            **owner.references(),
        },
        "spec": spec,
    }


def _stateful_set(order: ServeOrder, owner: Owner, installation: Installation) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": owner.name,
            "namespace": owner.namespace,
            "labels": marks.labels(owner.name, owner.namespace, order.hash),
            "annotations": {marks.REVISION: str(order.revision), **_remembered(order)},
            **owner.references(),
        },
        "spec": {
            # Each replica is a whole server: more of them serve more, and go on while one is
            # replaced.
            "replicas": order.workspace.resource.count + order.surge,
            "serviceName": marks.headless(owner.name),
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": {marks.WORKSPACE: owner.name}},
            "template": _template(order, installation),
        },
    }


def _remembered(order: ServeOrder) -> dict[str, str]:
    """Whether there is a pod too many; of live adapters, what pods have and were replaced for."""
    found = {marks.SURGE: "true"} if order.surge else {}
    if order.live:
        found[marks.PULL_SECRETS] = ",".join(order.sources.pull_secrets)
    if order.live and order.restarted_for:
        found[marks.DIGEST] = order.restarted_for
    return found


def _template(order: ServeOrder, installation: Installation) -> Object:
    labels = nodes.labels_of(order.workspace, installation)
    ref, preset, plan = order.ref, order.preset, order.plan
    if ref is None or preset is None or plan is None:
        return _users_own(order, labels)
    return pod.template(
        order,
        plan,
        plan_name(order),
        mounts.mounts(ref, preset, plan_name(order), order.sources, installation),
        needs(
            preset.architecture,
            order.gpus,
            vllm=plan.runtime == "vllm",
            on_cpu=order.on_cpu,
            local=volumes.weights_image(ref, preset, installation) is not None,
        ),
        labels,
        installation,
    )


def _users_own(order: ServeOrder, node_labels: Mapping[str, str]) -> Object:
    """`inference.template`: the user's pod, on the Workspace's nodes and under its labels."""
    inference = order.workspace.inference
    written: Object = copy.deepcopy(dict(inference.template or {})) if inference else {}
    ours, theirs = pod.metadata(order), written.get("metadata") or {}
    spec = written.get("spec") or {}
    metadata = {
        **theirs,
        "labels": {**(theirs.get("labels") or {}), **ours["labels"]},
        "annotations": {**(theirs.get("annotations") or {}), **ours["annotations"]},
    }
    placed = {} if "affinity" in spec else affinity(node_labels)
    tolerated = [*(spec.get("tolerations") or []), *tolerations()]
    return {"metadata": metadata, "spec": {**spec, **placed, "tolerations": tolerated}}


def _labels(owner: Owner) -> dict[str, str]:
    return {marks.WORKSPACE: owner.name, marks.WORKSPACE_NAMESPACE: owner.namespace}
