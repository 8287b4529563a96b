"""Raw Kubernetes objects → jobs/seen.py. The only reader of their keys.

Called by the operator's informers for every object that a list or a watch brings; they compare the
result with the one before and wake a Workspace only when it differs. Any key may be missing: the
API server leaves out counters at zero and statuses nobody has written yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from jobs import by_hand, seen
from jobs.marks import (
    ADAPTERS,
    DIGEST,
    HASH,
    PULL_SECRETS,
    RUN,
    SHARE_WITH,
    SURGE,
)
from jobs.quantity import quantity
from jobs.raw import Body, count, items, mapping, text

_CONFIG_KEYS = ("training_config.yaml", "inference_config.yaml")
_GPU = "nvidia.com/gpu"
_ENDS = ("Complete", "Failed", "FailureTarget")


def job(body: Body) -> seen.Job:
    """batch/v1 Job."""
    metadata, status = mapping(body, "metadata"), mapping(body, "status")
    return seen.Job(
        name=text(metadata, "name"),
        uid=text(metadata, "uid"),
        owner_uid=_owner_uid(metadata),
        run=_run(body),
        deleting="deletionTimestamp" in metadata,
        has_pods=_has_pods(status),
        ready=count(status, "ready") > 0,
        failed=count(status, "failed"),
        succeeded=count(status, "succeeded"),
        suspended=mapping(body, "spec").get("suspend") is True,
        started_at=text(status, "startTime"),
        completed_at=text(status, "completionTime"),
        conditions=tuple(c for c in _conditions(status) if c.type in _ENDS),
        mutable=by_hand.values(body),
    )


def _has_pods(status: Body) -> bool:
    """Until the controller has counted how they ended: then one change tells both."""
    uncounted = mapping(status, "uncountedTerminatedPods")
    return bool(
        count(status, "active")
        or count(status, "terminating")
        or uncounted.get("succeeded")
        or uncounted.get("failed")
    )


def _run(job: Body) -> str:
    """By its pods' label: nobody can edit that one, so no slip of a hand costs a run."""
    template = mapping(mapping(job, "spec"), "template")
    return text(mapping(mapping(template, "metadata"), "labels"), RUN)


def pod(body: Body) -> seen.Pod:
    """core/v1 Pod."""
    metadata, spec, status = (
        mapping(body, "metadata"),
        mapping(body, "spec"),
        mapping(body, "status"),
    )
    return seen.Pod(
        name=text(metadata, "name"),
        uid=text(metadata, "uid"),
        created_at=text(metadata, "creationTimestamp"),
        phase=text(status, "phase"),
        reason=text(status, "reason"),
        message=text(status, "message"),
        node=text(spec, "nodeName"),
        ip=text(status, "podIP"),
        run=text(mapping(metadata, "labels"), RUN),
        adapters=text(mapping(metadata, "annotations"), ADAPTERS),
        deleting="deletionTimestamp" in metadata,
        gone_by=text(metadata, "deletionTimestamp"),
        conditions=_conditions(status),
        containers=(
            *_containers(spec, status, "initContainers", "initContainerStatuses", init=True),
            *_containers(spec, status, "containers", "containerStatuses", init=False),
        ),
        images=tuple(
            reference
            for volume in items(spec, "volumes")
            if (reference := text(mapping(volume, "image"), "reference"))
        ),
    )


def node(body: Body) -> seen.Node:
    """core/v1 Node."""
    metadata, spec, status = (
        mapping(body, "metadata"),
        mapping(body, "spec"),
        mapping(body, "status"),
    )
    allocatable = mapping(status, "allocatable")
    return seen.Node(
        name=text(metadata, "name"),
        ready=any(c.type == "Ready" and c.status == "True" for c in _conditions(status)),
        labels=dict(mapping(metadata, "labels")),
        gpus=quantity(allocatable.get(_GPU)),
        memory_bytes=quantity(allocatable.get("memory")),
        unschedulable=spec.get("unschedulable") is True,
        kubelet=text(mapping(status, "nodeInfo"), "kubeletVersion"),
        runtime=text(mapping(status, "nodeInfo"), "containerRuntimeVersion"),
    )


def tuned(body: Body) -> seen.Tuned:
    """A Workspace, by what it has made."""
    status, tuning = mapping(body, "status"), mapping(body, "tuning")
    output, destination = mapping(status, "output"), mapping(tuning, "output")
    shared = text(mapping(mapping(body, "metadata"), "annotations"), SHARE_WITH)
    return seen.Tuned(
        tunes="tuning" in body,
        outcome=text(mapping(status, "run"), "outcome"),
        image=text(output, "image"),
        digest=text(output, "digest"),
        base_model=text(output, "baseModel"),
        base_revision=text(output, "baseRevision"),
        push_secret=text(destination, "imagePushSecret"),
        volume=dict(mapping(destination, "volumeSource")) or None,
        shared_with=tuple(part.strip() for part in shared.split(",") if part.strip()),
    )


def sources(body: Body) -> tuple[tuple[str, str], ...]:
    """The tuning Workspaces that a Workspace names as its adapters: (namespace, name)."""
    own = text(mapping(body, "metadata"), "namespace")
    listed = (mapping(one, "source") for one in items(mapping(body, "inference"), "adapters"))
    written = (name for source in listed if (name := text(source, "workspace")))
    return tuple(place(own, name) for name in written)


def place(own_namespace: str, written: str) -> tuple[str, str]:
    """NAME or NAMESPACE/NAME of a Workspace."""
    namespace, slash, name = written.rpartition("/")
    return (namespace if slash else own_namespace), name


def holder(body: Body) -> seen.Holder:
    """Any object, by its metadata alone."""
    metadata = mapping(body, "metadata")
    return seen.Holder(
        name=text(metadata, "name"),
        uid=text(metadata, "uid"),
        owner_uid=_owner_uid(metadata),
        run=text(mapping(metadata, "labels"), RUN),
        digest=text(mapping(metadata, "annotations"), DIGEST),
        secrets=tuple(
            filter(None, text(mapping(metadata, "annotations"), PULL_SECRETS).split(","))
        ),
        surge=text(mapping(metadata, "annotations"), SURGE) == "true",
        deleting="deletionTimestamp" in metadata,
    )


def revision(body: Body) -> seen.Revision:
    """apps/v1 ControllerRevision."""
    metadata = mapping(body, "metadata")
    return seen.Revision(
        name=text(metadata, "name"),
        number=count(body, "revision"),
        hash=text(mapping(metadata, "annotations"), HASH),
    )


def snapshot(body: Body) -> seen.Snapshot:
    """A ConfigMap that holds run.json or plan.json."""
    metadata = mapping(body, "metadata")
    return seen.Snapshot(
        text(metadata, "name"),
        text(mapping(metadata, "labels"), RUN),
        text(mapping(metadata, "annotations"), DIGEST),
    )


def config_map(body: Body) -> Mapping[str, str] | None:
    """The data of a ConfigMap with a training or inference configuration; None of any other."""
    data = mapping(body, "data")
    return dict(data) if any(key in data for key in _CONFIG_KEYS) else None


def note(body: Body) -> seen.Note:
    """core/v1 or events.k8s.io/v1 Event."""
    about = mapping(body, "involvedObject") or mapping(body, "regarding")
    return seen.Note(
        about_uid=text(about, "uid"),
        reason=text(body, "reason"),
        message=text(body, "message") or text(body, "note"),
        at=_last_seen(body),
    )


def _last_seen(event: Body) -> str:
    """Who counts an event's repetitions writes the last one in one of these; `eventTime` has
    fractions of a second, which the times of pods have not."""
    series = mapping(event, "series")
    times = (
        text(series, "lastObservedTime"),
        text(event, "lastTimestamp"),
        text(event, "deprecatedLastTimestamp"),
        text(event, "eventTime"),
    )
    at = next(filter(None, times), "")
    return f"{at[:19]}Z" if at else ""


def _containers(
    spec: Body, status: Body, listed: str, statuses: str, *, init: bool
) -> Iterator[seen.Container]:
    images = {text(c, "name"): text(c, "image") for c in items(spec, listed)}
    # A sidecar (KEP-753) is listed among those that come first, and runs beside the others.
    sidecars = {text(c, "name") for c in items(spec, listed) if c.get("restartPolicy")}
    for body in items(status, statuses):
        name = text(body, "name")
        first = init and name not in sidecars
        yield _container(body, name, images.get(name) or text(body, "image"), init=first)


def _container(
    body: Body, name: str, image: str, *, init: bool, key: str = "state"
) -> seen.Container:
    state, said = _state(mapping(body, key))
    code = said.get("exitCode")
    again = key == "state" and bool(mapping(body, "lastState"))
    return seen.Container(
        name=name,
        init=init,
        state=state,
        reason=text(said, "reason"),
        message=text(said, "message"),
        exit_code=code if isinstance(code, int) else None,
        started_at=text(said, "startedAt"),
        finished_at=text(said, "finishedAt"),
        image=image,
        last=_container(body, name, image, init=init, key="lastState") if again else None,
    )


def _state(state: Body) -> tuple[Literal["", "waiting", "running", "terminated"], Body]:
    if "terminated" in state:
        return "terminated", mapping(state, "terminated")
    if "running" in state:
        return "running", mapping(state, "running")
    return ("waiting", mapping(state, "waiting")) if "waiting" in state else ("", {})


def _conditions(status: Body) -> tuple[seen.Condition, ...]:
    return tuple(
        seen.Condition(
            type=text(c, "type"),
            status=text(c, "status"),
            reason=text(c, "reason"),
            message=text(c, "message"),
            since=text(c, "lastTransitionTime"),
        )
        for c in items(status, "conditions")
    )


def _owner_uid(metadata: Body) -> str:
    owners = items(metadata, "ownerReferences")
    return next((text(o, "uid") for o in owners if o.get("controller") is True), "")
