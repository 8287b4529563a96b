"""An adapter folder → a folder that may be a volume's root: whole, and never a mix of two.

Used by `push` where the output is a folder. KAITO's inference mounts the root of the output volume
as the adapter, so the files must lie there; other files may be there too, and they stay.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tuning.failure import Failure, Kind
from tuning.images.oci import CONFIG_FILE, SMALL_FILES, WEIGHTS_FILE

_OURS = (*SMALL_FILES, WEIGHTS_FILE)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def publish(source: Path, target: Path) -> None:
    """Put the files of an adapter into `target`. Raises Failure: NO_ACCESS or UNAVAILABLE.

    A new folder appears in one step. One that exists stays (a volume's root cannot be replaced): it
    is no adapter, for want of adapter_config.json, until every other file is in its place.
    """
    with _told(target):
        if target.exists():
            _fill(source, target)
        else:
            part = target.with_name(target.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            _fill(source, part)
            part.replace(target)


def require_writable(target: Path) -> None:
    """Raises Failure (NO_ACCESS or UNAVAILABLE) when no file can be put there, or beside it."""
    with _told(target):
        nearest = next(place for place in (target, *target.parents) if place.exists())
        with tempfile.NamedTemporaryFile(dir=nearest, prefix=".tunery-"):
            pass


def _fill(source: Path, target: Path) -> None:
    (target / CONFIG_FILE).unlink(missing_ok=True)
    _sync(target)
    names = {path.name for path in source.iterdir()}
    for left in set(_OURS) - names:
        # Of an adapter that was here before: another chat template would be served with this one.
        (target / left).unlink(missing_ok=True)
    for name in sorted(names - {CONFIG_FILE}):
        _put(source / name, target / name)
    _sync(target)
    _put(source / CONFIG_FILE, target / CONFIG_FILE)
    _sync(target)


def _put(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    with source.open("rb") as whole, part.open("wb") as file:
        shutil.copyfileobj(whole, file, 1024 * 1024)
        file.flush()
        os.fsync(file.fileno())
    # Volumes without modes of their own (SMB) refuse this, and show each file as readable anyway.
    with contextlib.suppress(PermissionError):
        part.chmod(0o644)
    part.replace(target)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"the adapter cannot be written to {target} ({error.strerror})"
        if error.errno in _REFUSED:
            do = f"let user {os.getuid()} write there, or give another volume"
            raise Failure(Kind.NO_ACCESS, f"{what}; {do}") from error
        raise Failure(Kind.UNAVAILABLE, f"{what}; free space or give another volume") from error
