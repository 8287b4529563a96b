"""An adapter's files, from an image or a mounted folder, into a folder of our own.

Second step of `prepare`, after the base. Copied even from a mounted volume: what is checked is then
what is served, whatever its owner does to the volume meanwhile.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from serving.adapter import RECORD_FILE, TEMPLATE_FILE
from serving.plan import AdapterPlan, ServePlaces
from tuning.failure import Failure, Kind
from tuning.images.connection import Options
from tuning.images.credentials import Credentials
from tuning.images.oci import CONFIG_FILE, WEIGHTS_FILE
from tuning.images.registry import Registry
from tuning.reference import parse
from tuning.retry import Patience

_FILES = (CONFIG_FILE, WEIGHTS_FILE, TEMPLATE_FILE, RECORD_FILE)
_DEEPEST = 2


def client(places: ServePlaces) -> Registry:
    """The registries that the pod's Secrets open. Raises Failure (NO_ACCESS)."""
    options = Options(
        insecure_hosts=frozenset(places.insecure_registries),
        ca_file=Path(places.registry_ca) if places.registry_ca else None,
        patience=Patience(deadline_s=places.registry_patience_s),
    )
    return Registry(Credentials.load(places.pull_auth), options)


def obtain(plan: AdapterPlan, folder: Path, registry: Registry) -> str | None:
    """Fill the new `folder`; returns the digest of the image, if it was one.

    Raises Failure: NO_ACCESS, BAD_CONFIG, BAD_DATA or UNAVAILABLE.
    """
    if plan.image is not None:
        return _pulled(plan.image, folder, registry)
    if plan.path is None:
        raise Failure(Kind.BAD_CONFIG, f"the adapter {plan.name} has neither image nor path")
    _copied(Path(plan.path), folder)
    return None


def _pulled(image: str, folder: Path, registry: Registry) -> str:
    try:
        reference = parse(image)
    except ValueError as error:
        raise Failure(Kind.BAD_CONFIG, str(error)) from error
    digest = reference.digest or registry.resolve(reference)
    registry.pull(reference.at(digest), folder)
    return digest


def _copied(source: Path, folder: Path) -> None:
    """The files of the adapter in `source`; a new folder appears whole or not at all."""
    found = _found(source)
    try:
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=folder.parent) as temporary:
            copy = Path(temporary) / "data"
            copy.mkdir()
            for name in _FILES:
                if (found / name).is_file():
                    shutil.copyfile(found / name, copy / name)
            copy.replace(folder)
    except OSError as error:
        what = f"the adapter in {found} cannot be copied: {error.strerror or error}"
        raise Failure(Kind.NO_ACCESS, f"{what}; let user and group of the pod read it") from error


def _found(source: Path) -> Path:
    """The one folder at or a little below `source` that holds an adapter."""
    try:
        folders = [folder for folder in _folders(source) if (folder / CONFIG_FILE).is_file()]
        empty = not any(source.iterdir())
    except OSError as error:
        what = f"its image or volume at {source} cannot be read: {error.strerror}"
        raise Failure(Kind.NO_ACCESS, f"{what}; let user and group of the pod read it") from error
    if source in folders:
        return source
    if len(folders) == 1:
        return folders[0]
    if folders:
        names = ", ".join(sorted(str(folder.relative_to(source)) for folder in folders)[:3])
        what = f"its image or volume holds {len(folders)} adapters ({names})"
        raise Failure(Kind.BAD_CONFIG, f"{what}; keep one, or mount its folder alone")
    what = "is empty" if empty else f"holds no {CONFIG_FILE}"
    do = "put an adapter there, or name another one"
    raise Failure(Kind.BAD_CONFIG, f"its image or volume {what}; {do}")


def _folders(source: Path, depth: int = 0) -> Iterator[Path]:
    """The folder and what is below it; never through a link."""
    yield source
    if depth == _DEEPEST:
        return
    for path in sorted(source.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _folders(path, depth + 1)
