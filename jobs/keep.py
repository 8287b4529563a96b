"""The actions that keep what belongs to a run: record, mark, put back, stop, prune.

Each is empty when all is as it should be, so a wake-up without news writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs import by_hand, marks
from jobs import revision as revisions
from jobs.case import Case
from jobs.decision import Action, Apply, Delete, Patch, Ref
from jobs.seen import Job
from jobs.tune import mutable

_ENDED = ("Complete", "Failed")


def record(case: Case) -> Iterator[Action]:
    """The run's ControllerRevision, unless it is there."""
    known = case.seen.revisions
    if revisions.find(case.run_hash, known) is None:
        yield Apply(
            revisions.controller_revision(case.body, case.owner, case.run_hash, case.number, known)
        )


def has_snapshot(case: Case) -> bool:
    return any(s.run == case.short for s in case.seen.snapshots)


def annotate(case: Case) -> Iterator[Action]:
    """The Workspace's own marks, KAITO's and one of ours."""
    wanted = {
        marks.HASH: case.run_hash,
        marks.REVISION: str(case.number),
        marks.SPEC: case.spec,
    }
    have = case.workspace.annotations
    if any(have.get(key) != value for key, value in wanted.items()):
        ref = Ref(marks.API_VERSION, "Workspace", case.owner.namespace, case.owner.name)
        yield Patch(ref, {"metadata": {"annotations": wanted}})


def put_back(case: Case, job: Job) -> Iterator[Action]:
    """What was edited by hand on a Job that has not ended is put back."""
    if job.deleting or has_ended(job):
        return
    wanted = mutable(case.owner, case.run_hash, case.number, case.installation)
    if by_hand.values(wanted) != job.mutable:
        yield Patch(_job(case, job), by_hand.patch(wanted))


def stop(case: Case, job: Job) -> Iterator[Action]:
    """Another run's Job goes; its pod is told to end and keeps a checkpoint if it can."""
    if not job.deleting:
        yield Delete(_job(case, job))


def prune(case: Case) -> Iterator[Action]:
    """More than ten revisions: the oldest go, with the snapshots of their runs."""
    gone = revisions.outdated(case.run_hash, case.seen.revisions)
    namespace = case.owner.namespace
    for old in gone:
        yield Delete(Ref("apps/v1", "ControllerRevision", namespace, old.name))
    for snapshot in revisions.outdated_snapshots(gone, case.seen.snapshots):
        yield Delete(Ref("v1", "ConfigMap", namespace, snapshot.name))


def has_ended(job: Job) -> bool:
    return any(c.type in _ENDED and c.status == "True" for c in job.conditions)


def _job(case: Case, job: Job) -> Ref:
    return Ref("batch/v1", "Job", case.owner.namespace, job.name, job.uid)
