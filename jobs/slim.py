"""Raw Kubernetes objects → jobs/seen.py. The only reader of their keys.

Called by the operator's informers for every object that a list or a watch brings; they compare the
result with the one before and wake a Workspace only when it differs. Any key may be missing: the
API server leaves out counters at zero and statuses nobody has written yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from jobs import seen
from jobs.quantity import quantity

WORKSPACE = "kaito.sh/workspace"
WORKSPACE_NAMESPACE = "kaito.sh/workspacenamespace"
ADAPTERS = "tunery.sh/adapters"
"""Annotation of a serving pod with live adapters: which set it was told of last."""
PULL_SECRETS = "tunery.sh/pull-secrets"
"""Annotation of a StatefulSet with live adapters: the Secrets that its pods have."""
SURGE = "tunery.sh/surge"
"""Annotation of a StatefulSet: "true" while it has one pod more than it should."""
RUN = "tunery.sh/run"
HASH = "workspace.kaito.io/hash"
REVISION = "workspace.kaito.io/revision"
DIGEST = "tunery.sh/digest"
SHARE_WITH = "tunery.sh/share-with"
"""Annotation of a tuning Workspace: namespaces (or *) whose Workspaces may serve its adapter."""

Body = Mapping[str, Any]

_CONFIG_KEYS = ("training_config.yaml", "inference_config.yaml")
_GPU = "nvidia.com/gpu"
_LONGEST_MESSAGE = 4096  # the kubelet's own limit for a termination message

# What a hand may change on a Job and is put back, with the API server's defaults.
_MUTABLE_SPEC: Mapping[str, int | None] = {
    "parallelism": 1,
    "backoffLimit": 6,
    "activeDeadlineSeconds": None,
    "ttlSecondsAfterFinished": None,
}
_ENDS = ("Complete", "Failed", "FailureTarget")
_MUTABLE_LABELS = (WORKSPACE, WORKSPACE_NAMESPACE, RUN)
_MUTABLE_ANNOTATIONS = (REVISION, HASH)


def job(body: Body) -> seen.Job:
    """batch/v1 Job."""
    metadata, status = _map(body, "metadata"), _map(body, "status")
    return seen.Job(
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
        owner_uid=_owner_uid(metadata),
        run=_run(body),
        deleting="deletionTimestamp" in metadata,
        has_pods=bool(_count(status, "active") or _count(status, "terminating")),
        ready=_count(status, "ready") > 0,
        failed=_count(status, "failed"),
        succeeded=_count(status, "succeeded"),
        suspended=_map(body, "spec").get("suspend") is True,
        started_at=_text(status, "startTime"),
        completed_at=_text(status, "completionTime"),
        conditions=tuple(c for c in _conditions(status) if c.type in _ENDS),
        mutable=mutable_values(body),
    )


def _run(job: Body) -> str:
    """By its pods' label: nobody can edit that one, so no slip of a hand costs a run."""
    template = _map(_map(job, "spec"), "template")
    return _text(_map(_map(template, "metadata"), "labels"), RUN)


def mutable(body: Body) -> dict[str, Any]:
    """The part of a Job that is put back after an edit by hand; of the wanted Job, the merge-patch.

    Only keys that Tunery sets; null where one is absent. `suspend` is not among them: queues and
    people set it.
    """
    metadata, spec = _map(body, "metadata"), _map(body, "spec")
    labels, annotations = _map(metadata, "labels"), _map(metadata, "annotations")
    return {
        "metadata": {
            "labels": {key: labels.get(key) for key in _MUTABLE_LABELS},
            "annotations": {key: annotations.get(key) for key in _MUTABLE_ANNOTATIONS},
        },
        "spec": {key: spec.get(key, default) for key, default in _MUTABLE_SPEC.items()},
    }


def mutable_values(body: Body) -> tuple[object, ...]:
    """The values of `mutable`: of the Job in the cluster and of the wanted one, to be compared."""
    metadata, spec = _map(body, "metadata"), _map(body, "spec")
    labels, annotations = _map(metadata, "labels"), _map(metadata, "annotations")
    return (
        *(labels.get(key) for key in _MUTABLE_LABELS),
        *(annotations.get(key) for key in _MUTABLE_ANNOTATIONS),
        *(spec.get(key, default) for key, default in _MUTABLE_SPEC.items()),
    )


def pod(body: Body) -> seen.Pod:
    """core/v1 Pod."""
    metadata, spec, status = _map(body, "metadata"), _map(body, "spec"), _map(body, "status")
    return seen.Pod(
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
        created_at=_text(metadata, "creationTimestamp"),
        phase=_text(status, "phase"),
        reason=_text(status, "reason"),
        message=_text(status, "message"),
        node=_text(spec, "nodeName"),
        ip=_text(status, "podIP"),
        run=_text(_map(metadata, "labels"), RUN),
        adapters=_text(_map(metadata, "annotations"), ADAPTERS),
        deleting="deletionTimestamp" in metadata,
        gone_by=_text(metadata, "deletionTimestamp"),
        conditions=_conditions(status),
        containers=(
            *_containers(spec, status, "initContainers", "initContainerStatuses", init=True),
            *_containers(spec, status, "containers", "containerStatuses", init=False),
        ),
        images=tuple(
            reference
            for volume in _items(spec, "volumes")
            if (reference := _text(_map(volume, "image"), "reference"))
        ),
    )


def node(body: Body) -> seen.Node:
    """core/v1 Node."""
    metadata, spec, status = _map(body, "metadata"), _map(body, "spec"), _map(body, "status")
    allocatable = _map(status, "allocatable")
    return seen.Node(
        name=_text(metadata, "name"),
        ready=any(c.type == "Ready" and c.status == "True" for c in _conditions(status)),
        labels=dict(_map(metadata, "labels")),
        gpus=quantity(allocatable.get(_GPU)),
        memory_bytes=quantity(allocatable.get("memory")),
        unschedulable=spec.get("unschedulable") is True,
        kubelet=_text(_map(status, "nodeInfo"), "kubeletVersion"),
        runtime=_text(_map(status, "nodeInfo"), "containerRuntimeVersion"),
    )


def tuned(body: Body) -> seen.Tuned:
    """A Workspace, by what it has made."""
    status, tuning = _map(body, "status"), _map(body, "tuning")
    output, destination = _map(status, "output"), _map(tuning, "output")
    shared = _text(_map(_map(body, "metadata"), "annotations"), SHARE_WITH)
    return seen.Tuned(
        tunes="tuning" in body,
        outcome=_text(_map(status, "run"), "outcome"),
        image=_text(output, "image"),
        digest=_text(output, "digest"),
        base_model=_text(output, "baseModel"),
        base_revision=_text(output, "baseRevision"),
        push_secret=_text(destination, "imagePushSecret"),
        volume=dict(_map(destination, "volumeSource")) or None,
        shared_with=tuple(part.strip() for part in shared.split(",") if part.strip()),
    )


def sources(body: Body) -> tuple[tuple[str, str], ...]:
    """The tuning Workspaces that a Workspace names as its adapters: (namespace, name)."""
    own = _text(_map(body, "metadata"), "namespace")
    listed = (_map(one, "source") for one in _items(_map(body, "inference"), "adapters"))
    written = (name for source in listed if (name := _text(source, "workspace")))
    return tuple(place(own, name) for name in written)


def place(own_namespace: str, written: str) -> tuple[str, str]:
    """NAME or NAMESPACE/NAME of a Workspace."""
    namespace, slash, name = written.rpartition("/")
    return (namespace if slash else own_namespace), name


def holder(body: Body) -> seen.Holder:
    """Any object, by its metadata alone."""
    metadata = _map(body, "metadata")
    return seen.Holder(
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
        owner_uid=_owner_uid(metadata),
        run=_text(_map(metadata, "labels"), RUN),
        digest=_text(_map(metadata, "annotations"), DIGEST),
        secrets=tuple(filter(None, _text(_map(metadata, "annotations"), PULL_SECRETS).split(","))),
        surge=_text(_map(metadata, "annotations"), SURGE) == "true",
        deleting="deletionTimestamp" in metadata,
    )


def revision(body: Body) -> seen.Revision:
    """apps/v1 ControllerRevision."""
    metadata = _map(body, "metadata")
    return seen.Revision(
        name=_text(metadata, "name"),
        number=_count(body, "revision"),
        hash=_text(_map(metadata, "annotations"), HASH),
    )


def snapshot(body: Body) -> seen.Snapshot:
    """A ConfigMap that holds run.json or plan.json."""
    metadata = _map(body, "metadata")
    return seen.Snapshot(
        _text(metadata, "name"),
        _text(_map(metadata, "labels"), RUN),
        _text(_map(metadata, "annotations"), DIGEST),
    )


def config_map(body: Body) -> Mapping[str, str] | None:
    """The data of a ConfigMap with a training or inference configuration; None of any other."""
    data = _map(body, "data")
    return dict(data) if any(key in data for key in _CONFIG_KEYS) else None


def note(body: Body) -> seen.Note:
    """core/v1 or events.k8s.io/v1 Event."""
    about = _map(body, "involvedObject") or _map(body, "regarding")
    return seen.Note(
        about_uid=_text(about, "uid"),
        reason=_text(body, "reason"),
        message=_text(body, "message") or _text(body, "note"),
        at=_last_seen(body),
    )


def _last_seen(event: Body) -> str:
    """Who counts an event's repetitions writes the last one in one of these; `eventTime` has
    fractions of a second, which the times of pods have not."""
    series = _map(event, "series")
    times = (
        _text(series, "lastObservedTime"),
        _text(event, "lastTimestamp"),
        _text(event, "deprecatedLastTimestamp"),
        _text(event, "eventTime"),
    )
    at = next(filter(None, times), "")
    return f"{at[:19]}Z" if at else ""


def _containers(
    spec: Body, status: Body, listed: str, statuses: str, *, init: bool
) -> Iterator[seen.Container]:
    images = {_text(c, "name"): _text(c, "image") for c in _items(spec, listed)}
    # A sidecar (KEP-753) is listed among those that come first, and runs beside the others.
    sidecars = {_text(c, "name") for c in _items(spec, listed) if c.get("restartPolicy")}
    for body in _items(status, statuses):
        name = _text(body, "name")
        first = init and name not in sidecars
        yield _container(body, name, images.get(name) or _text(body, "image"), init=first)


def _container(
    body: Body, name: str, image: str, *, init: bool, key: str = "state"
) -> seen.Container:
    state, said = _state(_map(body, key))
    code = said.get("exitCode")
    again = key == "state" and bool(_map(body, "lastState"))
    return seen.Container(
        name=name,
        init=init,
        state=state,
        reason=_text(said, "reason"),
        message=_text(said, "message"),
        exit_code=code if isinstance(code, int) else None,
        started_at=_text(said, "startedAt"),
        finished_at=_text(said, "finishedAt"),
        image=image,
        last=_container(body, name, image, init=init, key="lastState") if again else None,
    )


def _state(state: Body) -> tuple[Literal["", "waiting", "running", "terminated"], Body]:
    if "terminated" in state:
        return "terminated", _map(state, "terminated")
    if "running" in state:
        return "running", _map(state, "running")
    return ("waiting", _map(state, "waiting")) if "waiting" in state else ("", {})


def _conditions(status: Body) -> tuple[seen.Condition, ...]:
    return tuple(
        seen.Condition(
            type=_text(c, "type"),
            status=_text(c, "status"),
            reason=_text(c, "reason"),
            message=_text(c, "message"),
            since=_text(c, "lastTransitionTime"),
        )
        for c in _items(status, "conditions")
    )


def _owner_uid(metadata: Body) -> str:
    owners = _items(metadata, "ownerReferences")
    return next((_text(o, "uid") for o in owners if o.get("controller") is True), "")


def _map(body: Body, key: str) -> Body:
    value = body.get(key)
    return value if isinstance(value, Mapping) else {}


def _items(body: Body, key: str) -> Iterator[Body]:
    value = body.get(key)
    listed = value if isinstance(value, list) else []
    return (item for item in listed if isinstance(item, Mapping))


def _text(body: Body, key: str) -> str:
    value = body.get(key)
    return value[:_LONGEST_MESSAGE] if isinstance(value, str) else ""


def _count(body: Body, key: str) -> int:
    value = body.get(key)
    return value if isinstance(value, int) else 0
