"""Checkpoints ⇄ the registry: `REPOSITORY:TAG-checkpoint`, beside the adapter that is to come.

A pod's disk goes with the pod; this image does not, and needs no login that the run does not have.
`train` fetches it before the first step and keeps each new checkpoint there (keeper.py); `push`
removes it when the adapter is there. An image of that name that Tunery has not made is never moved.
Imports no torch.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tuning.failure import Failure, Kind
from tuning.images import oci, tarball
from tuning.images.oci import Image, Layer
from tuning.images.provenance import PREFIX
from tuning.images.registry import Inspection, Registry
from tuning.images.unpack import Wanted
from tuning.images.upload import OnBytes
from tuning.reference import Reference, parse
from tuning.run import Run
from tuning.training import checkpoint
from tuning.training.checkpoint import SEAL, Checkpoint

_SUFFIX = "-checkpoint"
_LONGEST_TAG = 128
_FACTS = f"{PREFIX}checkpoint.facts"
_STEP = f"{PREFIX}checkpoint.step"
# In a folder of its own below data/, a checkpoint is never taken for an adapter.
_WANTED = Wanted(
    re.compile(rf"checkpoint-[0-9]{{1,12}}/(?:{checkpoint.FILES})"),
    max_files=1024,
    max_bytes=256 * 1024**3,
)


@dataclass(frozen=True, slots=True)
class Found:
    """What is at the checkpoints' name now."""

    reference: Reference
    """By digest."""
    facts: str
    """Digest of its run's Facts; empty: Tunery has not made this image."""
    step: int


def place(run: Run) -> Reference:
    """The name of the run's checkpoints."""
    target = parse(run.output.target)
    tag = f"{target.tag}"[: _LONGEST_TAG - len(_SUFFIX)] + _SUFFIX
    return replace(target, tag=tag, digest=None)


def find(registry: Registry, name: Reference) -> Found | None:
    """The image at `name`; None when there is none. Raises Failure."""
    digest = registry.find(name)
    return None if digest is None else _read(registry.inspect(name.at(digest)))


def fetch(registry: Registry, found: Found, work: Path) -> Checkpoint:
    """Download a checkpoint into the work folder. Raises Failure.

    What its seal says is for `checkpoint.choose` to check.
    """
    fetched = work / ".fetched"
    shutil.rmtree(fetched, ignore_errors=True)
    registry.pull(found.reference, fetched, _WANTED)
    # The newest last: with it alone in its place, a best one before it would be missed.
    for part in checkpoint.sealed_in(fetched):
        shutil.rmtree(work / part.folder.name, ignore_errors=True)
        part.folder.replace(work / part.folder.name)
    shutil.rmtree(fetched)
    return Checkpoint(work / checkpoint.name(found.step), found.step)


def keep(
    registry: Registry, name: Reference, folder: Path, on_bytes: OnBytes | None = None
) -> None:
    """Push the sealed checkpoints in `folder` and let `name` mean them.

    The image before is removed, where that is allowed. Raises Failure; BAD_CONFIG also when an
    image of somebody else has the name.
    """
    before = find(registry, name)
    if before is not None and not before.facts:
        what = f"{name} is an image that Tunery has not made, so it is left alone"
        raise Failure(Kind.BAD_CONFIG, f"{what}; name another output tag")
    pushed = registry.push(image(folder), name, on_bytes=on_bytes)
    if before is not None and before.reference.digest != pushed.digest:
        # What is left over takes room and does no harm.
        with suppress(Failure):
            registry.remove(before.reference)


def forget(registry: Registry, name: Reference) -> bool:
    """Remove the checkpoint, if there is one of ours; False where the registry refuses that.

    Raises Failure.
    """
    found = find(registry, name)
    return found is None or not found.facts or registry.remove(found.reference)


def image(folder: Path) -> Image:
    """The image of the sealed checkpoints in `folder`, a layer each: equal ones, an equal digest.

    So the best one is not sent again with each that comes after it.
    """
    all_ = checkpoint.sealed_in(folder)
    sealed = checkpoint.seal_of(all_[-1].folder)
    said = {
        _FACTS: sealed.facts.digest(),
        _STEP: str(sealed.step),
        oci.TITLE: f"checkpoint of step {sealed.step}",
    }
    return oci.assemble(tuple(_layer(one.folder) for one in all_), said)


def _layer(folder: Path) -> Layer:
    names = (SEAL, *checkpoint.seal_of(folder).files)
    files: dict[str, Path | bytes] = {name: folder / name for name in names}
    return Layer(f"{folder.name}.tar", tarball.tar(f"{oci.FOLDER}/{folder.name}", files))


def _read(found: Inspection) -> Found:
    said = found.manifest.annotations
    step, facts = said.get(_STEP, ""), said.get(_FACTS, "")
    ours = re.fullmatch("[0-9]{1,12}", step) is not None
    return Found(found.reference, facts if ours else "", int(step) if ours else 0)
