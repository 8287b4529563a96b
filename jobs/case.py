"""One Workspace at one moment, read once: what `decide` and its parts look at.

First step of deciding. Reading must be cheap (it happens at every wake-up), so what only a new run
needs (the rules, the memory plan) is asked of jobs/order.py later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobs import marks, nodes, revision
from jobs.facts import WantedRun
from jobs.installation import Installation
from jobs.marks import Owner
from jobs.nodes import Nodes
from jobs.reading import Reading
from jobs.seen import Job, Seen
from jobs.workspace import Workspace
from presets import Catalog, Preset
from presets.problem import Problem, errors
from tuning.config import CONFIG_KEY

SERVING_CONFIG_KEY = "inference_config.yaml"
FINISHED = ("Succeeded", "Failed")
_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Case:
    """A readable Workspace with its surroundings."""

    body: Mapping[str, Any]
    owner: Owner
    workspace: Workspace
    spec: str
    """Of the annotation tunery.sh/spec."""
    unreadable: tuple[Problem, ...]
    """Errors that reading found: unknown fields and the like."""
    seen: Seen
    previous: Mapping[str, Any]
    installation: Installation
    catalog: Catalog
    run_hash: str
    number: int
    nodes: Nodes

    @property
    def short(self) -> str:
        return marks.short(self.run_hash)

    @property
    def before(self) -> Mapping[str, Any]:
        """status.run: the run that was told last."""
        return run_before(self.previous)

    @property
    def finished(self) -> bool:
        """The run has ended, whether or not its Job is still there: it is never made again."""
        return self.before.get("hash") == self.run_hash and has_ended(self.before)

    @property
    def foreign(self) -> bool:
        """Somebody else's Job has our name."""
        return self.seen.job is not None and self.seen.job.owner_uid != self.owner.uid

    @property
    def job(self) -> Job | None:
        """The Job of this very run."""
        job = self.seen.job
        return job if job and not self.foreign and job.run == self.short else None

    @property
    def preset(self) -> Preset | None:
        part = self.workspace.tuning or self.workspace.inference
        return self.catalog.preset(part.preset.name) if part and part.preset else None

    def earlier_run(self) -> WantedRun | None:
        """The run that the last status tells of, when it is not this one."""
        run_hash, number = self.before.get("hash"), self.before.get("revision")
        if not isinstance(run_hash, str) or not isinstance(number, int):
            return None
        return replace(
            self.wanted_run(),
            revision=number,
            hash=run_hash,
            snapshot=marks.snapshot(self.owner.name, run_hash),
        )

    def wanted_run(self) -> WantedRun:
        """The run as the status tells it."""
        preset, tuning = self.preset, self.workspace.tuning
        output = tuning.output if tuning else None
        return WantedRun(
            revision=self.number,
            hash=self.run_hash,
            snapshot=marks.snapshot(self.owner.name, self.run_hash),
            base_model=preset.id if preset else "",
            base_revision=(preset.revision if preset else "") or "",
            output_image=(output.image if output else "") or "",
        )


def read(
    body: Mapping[str, Any],
    reading: Reading,
    seen: Seen,
    previous: Mapping[str, Any],
    installation: Installation,
    catalog: Catalog,
) -> Case | tuple[Problem, ...]:
    """The Workspace and its surroundings; its problems when it cannot be read at all."""
    workspace = reading.workspace
    if workspace is None:
        return reading.problems
    run_hash = _run_hash(body, reading, workspace, seen)
    owner = owner_of(body)
    return Case(
        body=body,
        owner=owner,
        workspace=workspace,
        spec=reading.spec,
        unreadable=errors(reading.problems),
        seen=_adopted(seen, owner, run_hash, run_before(previous)),
        previous=previous,
        installation=installation,
        catalog=catalog,
        run_hash=run_hash,
        number=revision.number(run_hash, seen.revisions, run_before(previous)),
        nodes=nodes.choose(workspace, seen.nodes, installation, catalog),
    )


def owner_of(body: Mapping[str, Any]) -> Owner:
    metadata = body.get("metadata") or {}
    return Owner(
        namespace=str(metadata.get("namespace") or "default"),
        name=str(metadata.get("name") or ""),
        uid=str(metadata.get("uid") or ""),
    )


def run_before(previous: Mapping[str, Any]) -> Mapping[str, Any]:
    found = previous.get("run")
    return found if isinstance(found, Mapping) else {}


def has_ended(run: Mapping[str, Any]) -> bool:
    return run.get("outcome") in FINISHED


def _run_hash(body: Mapping[str, Any], reading: Reading, workspace: Workspace, seen: Seen) -> str:
    """Which run is asked for.

    A ConfigMap that is gone changes nothing by itself: the snapshot has its content, and whoever
    tidies up after a run has not asked for another one.
    """
    part = workspace.tuning or workspace.inference
    if part is None or not part.config:
        return reading.bare_hash
    data = (seen.config_maps or {}).get((workspace.namespace, part.config))
    marked = workspace.annotations
    before = marked.get(marks.HASH, "")
    unchanged = marked.get(marks.SPEC) == reading.spec and _HASH.fullmatch(before)
    if data is None and unchanged:
        return before
    key = CONFIG_KEY if workspace.tuning else SERVING_CONFIG_KEY
    return revision.hash_of(body, (data or {}).get(key))


def _adopted(seen: Seen, owner: Owner, run_hash: str, before: Mapping[str, Any]) -> Seen:
    """A Job of ours without a mark is KAITO's, from before Tunery came: it is this run's.

    Whoever changes operators must not train everything again.
    """
    job = seen.job
    if job is None or job.run or job.owner_uid != owner.uid:
        return seen
    if before.get("hash") not in (None, run_hash):
        return seen
    return replace(seen, job=replace(job, run=marks.short(run_hash)))
