"""Which run a Workspace asks for: its hash, its number, its ControllerRevisions.

As KAITO's syncControllerRevision, with the content of the ConfigMap and the wish to retry in the
hash: editing either makes a new revision. Pure; jobs/decide.py carries the objects on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs import marks
from jobs.marks import Owner
from jobs.seen import Revision, Snapshot

KEPT = 10
_SUFFIX = 5
_LONGER_SUFFIX = 10
_PARTS = ("resource", "inference", "tuning")

Object = dict[str, Any]


def hash_of(body: Mapping[str, Any], config_text: str | None) -> str:
    """sha256 of all that a user can change to get another run.

    Of what was written, never of what is made of it: a newer operator must not run anything again.
    """
    return _sha256({**_asked(body), "config": config_text})


def spec_of(body: Mapping[str, Any]) -> str:
    """The same without the ConfigMap's content: whether the Workspace itself has changed."""
    return marks.short(_sha256(_asked(body)))


def _asked(body: Mapping[str, Any]) -> Object:
    annotations = (body.get("metadata") or {}).get("annotations") or {}
    return {**{part: body.get(part) for part in _PARTS}, "retry": annotations.get(marks.RETRY)}


def _sha256(asked: Object) -> str:
    # YAML files hold dates, which the API server never does: their text stands for them.
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def find(run_hash: str, known: Sequence[Revision]) -> Revision | None:
    """The revision of this very run, if it was made before."""
    return next((r for r in known if r.hash == run_hash), None)


def number(run_hash: str, known: Sequence[Revision], before: Mapping[str, Any]) -> int:
    """The run's number: the one it has or had (`before` is status.run), else the next."""
    found = find(run_hash, known)
    if found:
        return found.number
    if before.get("hash") == run_hash and isinstance(before.get("revision"), int):
        return int(before["revision"])
    return max((r.number for r in known), default=0) + 1


def controller_revision(
    body: Mapping[str, Any], owner: Owner, run_hash: str, revision: int, known: Sequence[Revision]
) -> Object:
    """The ControllerRevision of a run, as KAITO makes it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": _name(owner.name, run_hash, known),
            "namespace": owner.namespace,
            "labels": {marks.REVISION_OWNER: owner.name},
            "annotations": {marks.HASH: run_hash},
            **owner.references(),
        },
        "revision": revision,
        "data": {part: body[part] for part in _PARTS if body.get(part) is not None},
    }


def _name(workspace: str, run_hash: str, known: Sequence[Revision]) -> str:
    """KAITO's name; a longer one where five digits of two hashes are equal (KAITO gives up)."""
    name = f"{workspace}-{run_hash[:_SUFFIX]}"
    taken = any(r.name == name and r.hash != run_hash for r in known)
    return f"{workspace}-{run_hash[:_LONGER_SUFFIX]}" if taken else name


def outdated(run_hash: str, known: Sequence[Revision]) -> tuple[Revision, ...]:
    """The oldest revisions, so that ten are left with the run's own."""
    others = sorted((r for r in known if r.hash != run_hash), key=lambda r: (r.number, r.name))
    surplus = len(others) + 1 - KEPT
    return tuple(others[:surplus]) if surplus > 0 else ()


def outdated_snapshots(
    gone: Sequence[Revision], snapshots: Sequence[Snapshot]
) -> Iterator[Snapshot]:
    """The snapshots of revisions that go: a run's record lives as long as its revision."""
    runs = {marks.short(r.hash) for r in gone}
    return (s for s in snapshots if s.run in runs)
