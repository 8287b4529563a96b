"""Checkpoints: folders `checkpoint-N` in the work folder, each sealed by `tunery.json`.

The Trainer writes a folder; `seal` removes what resuming does not need, digests the rest and writes
`tunery.json` last: only a sealed folder is a checkpoint. `choose` takes the newest whole one of
exactly this run. A pickle is never loaded: torch loads with weights_only, and `training_args.bin`
is removed. Imports no torch.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tuning.failure import Failure, Kind
from tuning.images.blob import sha256
from tuning.result import replace
from tuning.run import Part, Run, canonical

SEAL = "tunery.json"
STATE = "trainer_state.json"
WEIGHTS = "adapter_model.safetensors"
KEEP = 2
_NEEDED = ("adapter_config.json", WEIGHTS, "optimizer.pt", "scheduler.pt", STATE)
_OPTIONAL = re.compile(r"scaler\.pt|rng_state(_\d+)?\.pth")
FILES = "|".join([*map(re.escape, (SEAL, *_NEEDED)), _OPTIONAL.pattern])
"""A pattern of the names of all files that a sealed checkpoint may have."""
_NO_SETTING = ("config.sources", "config.output_dir", "model.path", "model.gated", "model.licence")
_NAME = re.compile(r"checkpoint-(\d{1,12})")


class Facts(Part):
    """All that must be equal for a checkpoint to continue a run bitwise."""

    identity: str
    """Run.identity()."""
    settings: dict[str, Any]
    """What the identity is made of, by dotted path: only to say what has changed."""
    data_sha256: str
    base_weights: str
    """tuning.training.guard.fingerprint of the frozen model."""
    world_size: int
    precision: str

    def digest(self) -> str:
        """Tells runs apart: of all but `settings`, which only names what differs."""
        return sha256(canonical(self.model_dump(mode="json", exclude={"settings"})))


class Seal(Part):
    """`tunery.json`."""

    step: int
    facts: Facts
    versions: dict[str, str]
    files: dict[str, str]
    """File name → sha256."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint of this run."""

    folder: Path
    step: int

    @property
    def state_file(self) -> Path:
        return self.folder / STATE

    @property
    def weights_file(self) -> Path:
        return self.folder / WEIGHTS


def facts(run: Run, data_sha256: str, base_weights: str, world_size: int, precision: str) -> Facts:
    """The facts of a run that is about to train."""
    settings = run.model_dump(mode="json", include={"method", "model", "config"})
    return Facts(
        identity=run.identity(),
        settings=_flat(settings),
        data_sha256=data_sha256,
        base_weights=base_weights,
        world_size=world_size,
        precision=precision,
    )


def seal(folder: Path, step: int, known: Facts, versions: Mapping[str, str]) -> None:
    """Make a folder that the Trainer has written a checkpoint, on disk before this returns.

    Raises OSError when it cannot be written, ValueError when the Trainer left a file out.
    """
    (folder / SEAL).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name not in _NEEDED and not _OPTIONAL.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    names = sorted(path.name for path in folder.iterdir())
    lacking = _lacking(names, known.world_size)
    if lacking:
        raise ValueError(f"{folder.name} lacks {lacking}")
    files = {name: _sha256_on_disk(folder / name) for name in names}
    sealed = Seal(step=step, facts=known, versions=dict(versions), files=files)
    replace(folder / SEAL, canonical(sealed.model_dump(mode="json")) + b"\n")
    _sync_folder(folder)
    _sync_folder(folder.parent)


def choose(
    work: Path, known: Facts, versions: Mapping[str, str]
) -> tuple[Checkpoint | None, tuple[str, ...]]:
    """The newest whole checkpoint, and a warning for each newer one that is broken.

    Other versions of the libraries are a warning too: they may compute other bits.

    Broken and half-written folders are removed, so that a later save cannot mix with them.
    Raises Failure (BAD_CONFIG) when a whole checkpoint belongs to a changed run.
    """
    warnings: list[str] = []
    for step, folder in reversed(_folders(work)):
        problem = _problem(folder, step)
        if problem is None:
            sealed = seal_of(folder)
            _refuse_changed(sealed.facts, known, folder)
            warnings += _other_versions(sealed.versions, versions)
            return Checkpoint(folder, step), tuple(warnings)
        if (folder / SEAL).exists():
            warnings.append(f"{folder.name} is broken ({problem}) and was removed")
        _remove(folder)
    return None, tuple(warnings)


def name(step: int) -> str:
    """Of the folder of a step's checkpoint."""
    return f"checkpoint-{step}"


def sealed_in(folder: Path) -> list[Checkpoint]:
    """The sealed checkpoints in a folder, oldest first; whether they are whole is not looked at."""
    return [Checkpoint(path, step) for step, path in _folders(folder) if (path / SEAL).exists()]


def rotate(work: Path, spare: Path | None = None, keep: int = KEEP) -> None:
    """Remove all but the newest `keep` sealed checkpoints; `spare` (the best one) stays too."""
    for old in sealed_in(work)[: -max(keep, 1)]:
        if spare is None or old.folder.name != spare.name:
            _remove(old.folder)


def _folders(work: Path) -> list[tuple[int, Path]]:
    """(step, folder), oldest first; by the number in the name, whatever the clocks said."""
    if not work.is_dir():
        return []
    found = ((_NAME.fullmatch(path.name), path) for path in work.iterdir() if path.is_dir())
    return sorted((int(match[1]), path) for match, path in found if match)


def _problem(folder: Path, step: int) -> str | None:
    """Why a folder is no whole checkpoint; None when it is."""
    try:
        sealed = seal_of(folder)
    except (OSError, ValidationError):
        return f"{SEAL} is missing or unreadable"
    if sealed.step != step:
        return f"it is of step {sealed.step}"
    lacking = _lacking(sealed.files, sealed.facts.world_size)
    if lacking:
        return f"it lacks {lacking}"
    for name, digest in sealed.files.items():
        if Path(name).name != name or not (folder / name).is_file():
            return f"{name} is missing"
        if _sha256(folder / name) != digest:
            return f"{name} is damaged"
    return None


def _lacking(names: Any, world_size: int) -> str | None:
    one = world_size == 1
    states = ["rng_state.pth"] if one else [f"rng_state_{n}.pth" for n in range(world_size)]
    return next((name for name in (*_NEEDED, *states) if name not in names), None)


def _refuse_changed(theirs: Facts, ours: Facts, folder: Path) -> None:
    if same(theirs, ours):
        return
    what = "; ".join(changes(theirs, ours)) or "the run's settings differ"
    sentence = (
        f"{folder} belongs to a run that has since changed ({what}); "
        "change it back to go on, or use another work folder (or delete this one) to start afresh"
    )
    raise Failure(Kind.BAD_CONFIG, sentence)


def _other_versions(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    both = sorted(before.keys() & now.keys())
    moved = [f"{name} {before[name]} → {now[name]}" for name in both if before[name] != now[name]]
    if not moved:
        return []
    what = f"the checkpoint is of other library versions ({', '.join(moved)})"
    return [f"{what}; the adapter may differ in its last bits from one trained in one go"]


def same(one: Facts, other: Facts) -> bool:
    """Whether one may go on from the other; the settings are in the identity already."""
    return one.digest() == other.digest()


def changes(before: Facts, now: Facts) -> list[str]:
    """What differs, one short phrase each, at most five."""
    old, new = before.settings, now.settings
    fields = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    phrases = [f"{key} was {old.get(key)}, is {new.get(key)}" for key in fields]
    if before.data_sha256 != now.data_sha256:
        phrases.append("the training rows are others")
    if before.base_weights != now.base_weights:
        phrases.append("the base model's weights are others")
    if before.world_size != now.world_size:
        phrases.append(f"it ran on {before.world_size} GPUs, now {now.world_size}")
    if before.precision != now.precision:
        phrases.append(f"it ran in {before.precision}, now {now.precision}")
    return phrases[:5]


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """{"config": {"lora": {"r": 8}}} → {"config.lora.r": 8}, without what shapes no weight."""
    if not isinstance(value, dict):
        return {path: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{path}.{key}" if path else key)
    return {k: v for k, v in flat.items() if not k.startswith(_NO_SETTING)}


def seal_of(folder: Path) -> Seal:
    """The seal of a checkpoint's folder. Raises OSError or ValidationError where it has none."""
    return Seal.model_validate_json((folder / SEAL).read_bytes())


def _remove(folder: Path) -> None:
    """The seal goes first: a removal cut short must not leave something that looks whole."""
    (folder / SEAL).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_on_disk(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
