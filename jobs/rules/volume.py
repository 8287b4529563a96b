"""What a `volumeSource` must be to hold data, an adapter, or to take one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from jobs.context import Context
from jobs.plain import told
from presets.problem import Problem, did_you_mean, shown

Use = Literal["read", "write"]

# Fields of core/v1 VolumeSource (k8s.io/api/core/v1/types.go).
_KINDS = frozenset(
    {"awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "configMap", "csi"}
    | {"downwardAPI", "emptyDir", "ephemeral", "fc", "flexVolume", "flocker", "gcePersistentDisk"}
    | {"gitRepo", "glusterfs", "hostPath", "image", "iscsi", "nfs", "persistentVolumeClaim"}
    | {"photonPersistentDisk", "portworxVolume", "projected", "quobyte", "rbd", "scaleIO"}
    | {"secret", "storageos", "vsphereVolume"}
)
_EMPTY_AT_START = frozenset({"emptyDir", "ephemeral"})
_READ_ONLY = frozenset({"configMap", "secret", "downwardAPI", "projected", "image", "gitRepo"})
_CLAIM_FIELDS = frozenset({"claimName", "readOnly"})
_EXAMPLE = "write persistentVolumeClaim: {claimName: NAME}"


def volume_problems(
    volume: Mapping[str, Any], path: str, use: Use, context: Context
) -> Iterator[Problem]:
    """Everything that would leave the pod Pending, the data empty, or the adapter lost."""
    kinds = [key for key in volume if key in _KINDS]
    for key in volume:
        if key not in _KINDS:
            yield _unknown(key, path)
    if len(kinds) != 1:
        what = "names no source" if not kinds else f"names more than one: {', '.join(kinds)}"
        yield Problem(path, what, _EXAMPLE)
        return
    kind = kinds[0]
    where = f"{path}.{kind}"
    if kind == "hostPath" and not context.allow_host_path:
        yield Problem(where, "folders of the node are not allowed here", _EXAMPLE)
    yield from _lost(kind, where, use)
    if kind == "persistentVolumeClaim":
        yield from _claim_problems(volume[kind], where, use)


def _unknown(key: str, path: str) -> Problem:
    if key == "name":
        return Problem(f"{path}.name", "a volume has no name here", "remove it", "generic")
    do = did_you_mean(key, _KINDS) or _EXAMPLE
    return Problem(f"{path}.{key[:80]}", "unknown kind of volume", do, "generic")


def _lost(kind: str, where: str, use: Use) -> Iterator[Problem]:
    if kind in _EMPTY_AT_START:
        lost = "starts empty, so there is nothing to read"
        gone = "is deleted with the pod, and the adapter with it"
        yield Problem(where, gone if use == "write" else lost, _EXAMPLE)
    if use == "write" and kind in _READ_ONLY:
        yield Problem(where, "cannot be written to", _EXAMPLE)


def _claim_problems(claim: object, where: str, use: Use) -> Iterator[Problem]:
    if not isinstance(claim, Mapping):
        yield Problem(where, f"must be a map, not {told(claim)}", _EXAMPLE)
        return
    for key in claim:
        if key not in _CLAIM_FIELDS:
            do = did_you_mean(key, _CLAIM_FIELDS) or "remove it"
            yield Problem(f"{where}.{key[:80]}", "unknown field", do, "generic")
    name, read_only = claim.get("claimName"), claim.get("readOnly", False)
    if not name:
        yield Problem(f"{where}.claimName", "is missing", "name the claim", "missing")
    elif not isinstance(name, str):
        yield Problem(f"{where}.claimName", f"must be text, not {told(name)}", "put it in quotes")
    if not isinstance(read_only, bool):
        what = f"must be true or false, not {told(read_only)}"
        yield Problem(f"{where}.readOnly", what, "remove the quotes")
    elif read_only and use == "write":
        what = f"{shown(name)} is mounted read-only, so no adapter can be written to it"
        yield Problem(f"{where}.readOnly", what, "remove readOnly")
