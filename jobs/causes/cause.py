"""One root cause: what jobs/causes finds and jobs/status.py tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from jobs.facts import Facts
from jobs.seen import Job, Pod
from presets.problem import printable

_LONGEST_SENTENCE = 1000


class Why(StrEnum):
    """Causes the cluster has, beside the kinds of tuning/failure.py which the pod itself names.

    The first seven and the last are KAITO's own words (its inference pods are classified so).
    """

    OOM_KILLED = "ContainerOOMKilled"
    IMAGE_PULL = "ImagePullError"
    START = "ContainerStartError"
    EVICTED = "PodEvicted"
    DISK_PRESSURE = "NodeDiskPressure"
    MEMORY_PRESSURE = "NodeMemoryPressure"
    UNSCHEDULABLE = "Unschedulable"
    SECRET_MISSING = "SecretMissing"  # noqa: S105
    CONFIG_MAP_MISSING = "ConfigMapMissing"
    MOUNT = "VolumeMountError"
    QUOTA = "QuotaExceeded"
    POD_SECURITY = "PodSecurityRefused"
    POD_REFUSED = "PodRefused"
    NODE_REFUSED = "NodeRefusedPod"
    NODE_LOST = "NodeLost"
    NODE_SHUTDOWN = "NodeShutdown"
    PREEMPTED = "Preempted"
    DEADLINE = "DeadlineExceeded"
    SUSPENDED = "Suspended"
    GATED = "SchedulingGated"
    KILLED = "ContainerKilled"
    FAILED = "ContainerFailed"
    POD_DELETED = "PodDeleted"
    POD_GONE = "PodGone"
    JOB_FAILED = "WorkspaceTuningJobStatusFailed"


@dataclass(frozen=True, slots=True)
class Cause:
    """A condition's reason, one sentence that says what to do, and what comes next."""

    reason: str
    sentence: str
    stage: Literal["waiting", "retried", "final"]
    """waiting: nothing has failed. retried: another attempt may do. final: none can."""

    def __str__(self) -> str:
        return f"{self.reason}: {self.sentence}"


OfPod = Callable[[Pod, Facts], Cause | None]
OfJob = Callable[[Job, Facts], Cause | None]


def waiting(why: Why, sentence: str) -> Cause:
    """Nothing has failed, and nothing goes on until somebody acts."""
    return Cause(why, short(sentence), "waiting")


def retried(why: Why, sentence: str) -> Cause:
    """The attempt is over; the Job may make another."""
    return Cause(why, short(sentence), "retried")


def short(text: str, limit: int = _LONGEST_SENTENCE) -> str:
    """Text from outside as it may stand in a status: one line, printable, not endless."""
    line = " ".join(text[: 4 * limit].split())
    if not (line.isascii() and line.isprintable()):
        line = printable(line)
    return line if len(line) <= limit else line[: limit - 1] + "…"
