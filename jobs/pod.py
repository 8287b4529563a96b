"""The pod template of a tuning Job: `prepare`, then `tune` in the main container, one image.

Meets Pod Security "restricted". What each container may see is in jobs/volumes.py, what the pod
asks of its node in jobs/needs.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs import marks, volumes
from jobs.installation import Installation
from jobs.needs import Needs
from jobs.placing import GPU, affinity, container_security, cores, pod_security, tolerations
from jobs.volumes import Mount
from jobs.workspace import Workspace
from tuning.run import Run

PREPARE = "prepare"

Object = dict[str, Any]

# A node is not to be emptied for its price while a run is on it (Karpenter, cluster autoscaler).
_STAY = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}


def template(
    workspace: Workspace,
    run_hash: str,
    revision: int,
    run: Run,
    mounts: Sequence[Mount],
    needs: Needs,
    node_labels: Mapping[str, str],
    installation: Installation,
) -> Object:
    """The PodTemplateSpec of one run."""
    labels = marks.labels(workspace.name, workspace.namespace, run_hash)
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": needs.grace_s,
        "securityContext": pod_security(),
        "tolerations": tolerations(),
        **affinity(node_labels),
        **_pull_secrets(workspace, installation),
        "volumes": [mount.volume() for mount in mounts],
        "initContainers": [_prepare(workspace, run, mounts, needs, installation)],
        "containers": [_main(workspace, run, mounts, needs, installation)],
    }
    annotations = {marks.REVISION: str(revision), **_STAY}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec}


def _prepare(
    workspace: Workspace,
    run: Run,
    mounts: Sequence[Mount],
    needs: Needs,
    installation: Installation,
) -> Object:
    # A pod's containers need different names, and the main one has the Workspace's.
    name = PREPARE if workspace.name != PREPARE else f"{PREPARE}-run"
    offline = run.model.path is not None and run.data.kind != "dataset"
    return {
        "name": name,
        **_container(PREPARE, (), needs, installation, offline=offline),
        "volumeMounts": [mount.mount() for mount in mounts if mount.prepare],
    }


def _main(
    workspace: Workspace,
    run: Run,
    mounts: Sequence[Mount],
    needs: Needs,
    installation: Installation,
) -> Object:
    port = ("--metrics-port", str(marks.METRICS_PORT))
    # Whatever it needs of a hub, `prepare` has brought.
    container = _container("tune", port, needs, installation, offline=True)
    cards = {GPU: str(needs.gpus)}
    for kind in ("requests", "limits"):
        container["resources"][kind] = {**container["resources"].get(kind, {}), **cards}
    return {
        "name": workspace.name,
        **container,
        "ports": [{"name": "metrics", "containerPort": marks.METRICS_PORT, "protocol": "TCP"}],
        "volumeMounts": [mount.mount() for mount in mounts if mount.main],
    }


def _container(
    word: str, options: Sequence[str], needs: Needs, installation: Installation, *, offline: bool
) -> Object:
    policy = installation.image_pull_policy
    return {
        "image": installation.tuner_image,
        **({"imagePullPolicy": policy} if policy else {}),
        "command": ["python", "-m", "tuning"],
        "args": [word, f"{volumes.RUN}/{marks.RUN_KEY}", *options],
        "env": _environment(installation, offline=offline),
        "resources": _resources(needs, installation),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _environment(installation: Installation, *, offline: bool) -> list[Object]:
    """What libraries look for where the user has no home and the root is read-only."""
    values = {
        "HOME": "/tmp",  # noqa: S108 the pod's own
        "HF_HOME": "/tmp/hf",  # noqa: S108
        "TMPDIR": "/tmp",  # noqa: S108
        "USER": "tunery",
        "LOGNAME": "tunery",
        "TQDM_DISABLE": "1",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    }
    if installation.hub_endpoint:
        values["HF_ENDPOINT"] = installation.hub_endpoint
    if offline:
        values["HF_HUB_OFFLINE"] = "1"
    listed: list[Object] = [{"name": name, "value": value} for name, value in values.items()]
    if installation.cpu_limit:
        # More threads than the limit's cores wait for each other: measured ten times slower.
        source = {"resourceFieldRef": {"resource": "limits.cpu"}}
        listed.append({"name": "OMP_NUM_THREADS", "valueFrom": source})
    return listed


def _resources(needs: Needs, installation: Installation) -> Object:
    memory_gib = installation.memory_gib or needs.memory_gib
    requests = {"cpu": cores(needs.gpus, installation.cpu_limit), "memory": f"{memory_gib}Gi"}
    if needs.disk_gib:
        requests["ephemeral-storage"] = f"{needs.disk_gib}Gi"
    limits = {}
    if installation.cpu_limit:
        limits["cpu"] = installation.cpu_limit
    if installation.memory_gib:
        limits["memory"] = f"{memory_gib}Gi"
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _pull_secrets(workspace: Workspace, installation: Installation) -> Object:
    """For what the kubelet pulls: the tuner image, weights. KAITO lists the push Secret as well."""
    tuning = workspace.tuning
    names = list(installation.image_pull_secrets)
    if tuning is not None and tuning.preset is not None:
        names += tuning.preset.options.image_pull_secrets
    if tuning is not None and tuning.input is not None:
        names += tuning.input.image_pull_secrets
    if tuning is not None and tuning.output is not None and tuning.output.image_push_secret:
        names.append(tuning.output.image_push_secret)
    listed = [{"name": name} for name in dict.fromkeys(names)]
    return {"imagePullSecrets": listed} if listed else {}
