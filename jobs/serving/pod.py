"""The pod template of a serving: `prepare`, then vLLM or transformers' own server.

Meets Pod Security "restricted". What is mounted is in mounts.py, what it asks of its node in
needs.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jobs import marks
from jobs.installation import Installation
from jobs.placing import GPU, affinity, container_security, cores, pod_security, tolerations
from jobs.serving import mounts
from jobs.serving.needs import ServingNeeds
from jobs.serving.order import ServeOrder
from jobs.volumes import Mount
from jobs.workspace import Partition
from serving.plan import CHAT_MODULE, CHAT_SETTINGS, MODEL_LINK, VLLM_CONFIG, ServePlan

PORT = 5000
PLAN_KEY = "plan.json"
PREPARE = "prepare"

Object = dict[str, Any]

_DRAIN_S = 30
"""Requests that are being answered when the pod ends."""
_UNROUTED_S = 5
"""Until no Service sends new ones: vLLM answers those with 500 once it drains (measured)."""
_TEARDOWN_S = 30
_PERIOD_S = 10
_PREPARE_MEMORY = "1Gi"
_LIVE, _LIVE_CPU, _LIVE_MEMORY = "live", "100m", "512Mi"


def template(
    order: ServeOrder,
    plan: ServePlan,
    plan_name: str,
    all_mounts: Sequence[Mount],
    needs: ServingNeeds,
    node_labels: Mapping[str, str],
    installation: Installation,
) -> Object:
    """The PodTemplateSpec of one serving."""
    named = {mount.name: mount.volume() for mount in all_mounts}
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _UNROUTED_S + _DRAIN_S + _TEARDOWN_S,
        "securityContext": pod_security(),
        "tolerations": tolerations(),
        **affinity(node_labels),
        **_pull_secrets(order, installation),
        "volumes": list(named.values()),
        "initContainers": [
            _prepare(order, all_mounts, installation),
            *([_keeper(order, all_mounts, installation)] if plan.live else []),
        ],
        "containers": [_server(order, plan, all_mounts, needs, installation)],
    }
    return {"metadata": metadata(order), "spec": spec}


def metadata(order: ServeOrder) -> Object:
    """Labels and annotations of a pod of this serving."""
    workspace = order.workspace
    return {
        "labels": marks.labels(workspace.name, workspace.namespace, order.hash),
        "annotations": {marks.REVISION: str(order.revision)},
    }


def _prepare(order: ServeOrder, all_mounts: Sequence[Mount], installation: Installation) -> Object:
    # A pod's containers need different names, and the main one has the Workspace's.
    name = PREPARE if order.workspace.name != PREPARE else f"{PREPARE}-plan"
    endpoint = installation.hub_endpoint
    return {
        "name": name,
        **_image(installation.prepare_image or installation.tuner_image, installation),
        "command": ["python", "-m", "serving"],
        "args": ["prepare", f"{mounts.PLAN}/{PLAN_KEY}"],
        "env": _environment({"HF_ENDPOINT": endpoint} if endpoint else {}),
        "resources": {"requests": {"cpu": "1", "memory": _PREPARE_MEMORY}},
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount.mount() for mount in all_mounts if mount.prepare],
    }


def _keeper(order: ServeOrder, all_mounts: Sequence[Mount], installation: Installation) -> Object:
    """A sidecar (KEP-753): it starts before the server, ends after it, and is started again."""
    name = _LIVE if order.workspace.name != _LIVE else f"{_LIVE}-adapters"
    seen = (mount for mount in all_mounts if mount.prepare and mount.name != mounts.HUB_VOLUME)
    return {
        "name": name,
        **_image(installation.prepare_image or installation.tuner_image, installation),
        "command": ["python", "-m", "serving"],
        "args": ["live", f"{mounts.PLAN}/{PLAN_KEY}", "--url", f"http://127.0.0.1:{PORT}"],
        "env": _environment({}),
        "resources": {"requests": {"cpu": _LIVE_CPU, "memory": _LIVE_MEMORY}},
        "restartPolicy": "Always",
        "securityContext": container_security(),
        "volumeMounts": [mount.mount() for mount in seen],
    }


def _server(
    order: ServeOrder,
    plan: ServePlan,
    all_mounts: Sequence[Mount],
    needs: ServingNeeds,
    installation: Installation,
) -> Object:
    vllm = plan.runtime == "vllm"
    container = _vllm(plan, installation) if vllm else _transformers(order, plan, installation)
    security = {**container_security(), **({"runAsGroup": 0} if vllm else {})}
    ports = [{"name": "http", "containerPort": PORT, "protocol": "TCP"}]
    return {
        "name": order.workspace.name,
        **container,
        "ports": ports,
        "resources": _resources(order, needs, installation),
        # vLLM's image gives its folders to group 0, for any user.
        "securityContext": security,
        "lifecycle": {"preStop": {"sleep": {"seconds": _UNROUTED_S}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_probes(needs),
        "volumeMounts": [mount.mount() for mount in all_mounts if mount.main],
    }


def _vllm(plan: ServePlan, installation: Installation) -> Object:
    ready = plan.places.ready
    return {
        **_image(installation.vllm_image, installation),
        "command": ["vllm", "serve"],
        "args": [
            f"{ready}/{MODEL_LINK}",
            *("--config", f"{ready}/{VLLM_CONFIG}"),
            *("--served-model-name", plan.model.name),
            *("--port", str(PORT)),
            *("--middleware", f"{CHAT_MODULE}.Chat"),
            *("--shutdown-timeout", str(_DRAIN_S)),
        ],
        "env": _environment(_vllm_variables(plan), threads=bool(installation.cpu_limit)),
    }


def _vllm_variables(plan: ServePlan) -> dict[str, str]:
    return {
        **_serving_variables(plan),
        "PYTHONPATH": plan.places.ready,
        "PYTHONDONTWRITEBYTECODE": "1",
        "VLLM_CACHE_ROOT": "/tmp/vllm",  # noqa: S108 the pod's own
        "VLLM_CONFIG_ROOT": "/tmp/vllm-config",  # noqa: S108
        "VLLM_NO_USAGE_STATS": "1",
        # Cores are the container's; vLLM would bind its threads to the machine's first ones.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        # serving/chat lets nobody outside the pod use it.
        **({"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"} if plan.live else {}),
    }


def _transformers(order: ServeOrder, plan: ServePlan, installation: Installation) -> Object:
    device = "cpu" if order.on_cpu else "auto"
    half = order.card is not None and not order.card.bf16 and not order.on_cpu
    return {
        **_image(installation.tuner_image, installation),
        "command": ["python", "-m", "serving"],
        "args": [
            *("transformers", plan.model.name),
            *("--host", "0.0.0.0"),  # noqa: S104 inside the pod's own network
            *("--port", str(PORT)),
            *("--device", device),
            *("--dtype", "float16" if half else "auto"),
        ],
        # The model's name is a folder here.
        "workingDir": plan.places.ready,
        "env": _environment(_serving_variables(plan), threads=bool(installation.cpu_limit)),
    }


def _serving_variables(plan: ServePlan) -> dict[str, str]:
    return {
        "TUNERY_CHAT": f"{plan.places.ready}/{CHAT_SETTINGS}",
        # Whatever it needs of a hub, `prepare` has brought.
        "HF_HUB_OFFLINE": "1",
    }


def _environment(more: Mapping[str, str], *, threads: bool = False) -> list[Object]:
    """What libraries look for where the user has no home and the root is read-only."""
    values = {
        "HOME": "/tmp",  # noqa: S108 the pod's own
        "HF_HOME": "/tmp/hf",  # noqa: S108
        "TMPDIR": "/tmp",  # noqa: S108
        "USER": "tunery",
        "LOGNAME": "tunery",
        **more,
    }
    listed: list[Object] = [{"name": name, "value": value} for name, value in values.items()]
    if threads:
        # More threads than the limit's cores wait for each other: measured ten times slower.
        source = {"resourceFieldRef": {"resource": "limits.cpu"}}
        listed.append({"name": "OMP_NUM_THREADS", "valueFrom": source})
    return listed


def _image(image: str, installation: Installation) -> Object:
    policy = installation.image_pull_policy
    return {"image": image, **({"imagePullPolicy": policy} if policy else {})}


def _probes(needs: ServingNeeds) -> Object:
    """The port opens when all is loaded; before, only the start-up probe may be patient."""
    return {
        "startupProbe": _probe("/health", math.ceil(needs.start_s / _PERIOD_S)),
        "livenessProbe": _probe("/health", 3),
        # Only once every model has answered (serving/chat asks each for one token, once).
        "readinessProbe": _probe("/ready", 3),
    }


def _probe(path: str, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": PORT},
        "periodSeconds": _PERIOD_S,
        "timeoutSeconds": _PERIOD_S,
        "failureThreshold": failures,
    }


def _resources(order: ServeOrder, needs: ServingNeeds, installation: Installation) -> Object:
    memory_gib = installation.serving_memory_gib or needs.memory_gib
    cards = _cards(order.workspace.resource.partition, needs.gpus)
    requests = {
        "cpu": cores(needs.gpus, installation.cpu_limit),
        "memory": f"{memory_gib}Gi",
        "ephemeral-storage": f"{needs.disk_gib}Gi",
        **cards,
    }
    limits = {**cards}
    if installation.cpu_limit:
        limits["cpu"] = installation.cpu_limit
    if installation.serving_memory_gib:
        limits["memory"] = f"{memory_gib}Gi"
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _cards(share: Partition | None, gpus: int) -> Object:
    """All cards of the node, or the share that the Workspace asks for."""
    if share is not None and share.mode == "mig":
        return {f"nvidia.com/mig-{share.profile}": str(share.count or 1)}
    count = share.count or 1 if share is not None else gpus
    return {GPU: str(count)} if count else {}


def _pull_secrets(order: ServeOrder, installation: Installation) -> Object:
    """For what the kubelet pulls: our images, weights, adapters as image volumes."""
    ref = order.ref
    names = [
        *installation.image_pull_secrets,
        *(ref.options.image_pull_secrets if ref else ()),
        *order.sources.pull_secrets,
    ]
    listed = [{"name": name} for name in dict.fromkeys(names)]
    return {"imagePullSecrets": listed} if listed else {}
