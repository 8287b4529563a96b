"""What a hand may change on a Job and is put back: read of the one that is there and of the wanted.

Called by jobs/slim.py for what is there and by jobs/keep.py, which compares. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.marks import HASH, REVISION, RUN, WORKSPACE, WORKSPACE_NAMESPACE
from jobs.raw import Body, mapping

_LABELS = (WORKSPACE, WORKSPACE_NAMESPACE, RUN)
_ANNOTATIONS = (REVISION, HASH)
# With the API server's defaults.
_SPEC: Mapping[str, int | None] = {
    "parallelism": 1,
    "backoffLimit": 6,
    "activeDeadlineSeconds": None,
    "ttlSecondsAfterFinished": None,
}


def patch(job: Body) -> dict[str, Any]:
    """The merge-patch that gives another Job the values of this one; null where it has none.

    Only keys that Tunery sets. `suspend` is not among them: queues and people set it.
    """
    metadata, spec = mapping(job, "metadata"), mapping(job, "spec")
    labels, annotations = mapping(metadata, "labels"), mapping(metadata, "annotations")
    return {
        "metadata": {
            "labels": {key: labels.get(key) for key in _LABELS},
            "annotations": {key: annotations.get(key) for key in _ANNOTATIONS},
        },
        "spec": {key: spec.get(key, default) for key, default in _SPEC.items()},
    }


def values(job: Body) -> tuple[object, ...]:
    """The same, flat, to be kept and compared."""
    part = patch(job)
    metadata = part["metadata"]
    return (*metadata["labels"].values(), *metadata["annotations"].values(), *part["spec"].values())
