"""Files → a canonical tar as a blob: the same files give the same bytes, on any machine.

USTAR with fixed headers: mode 0644 (a reader under another uid must be able to open the weights,
which safetensors writes as 0600), owner 0, time 0, sorted names, two zero blocks at the end. No
compression: the digest does not depend on a zlib version, and the layer digest is the diff_id.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

from tuning.failure import Failure, Kind
from tuning.images.blob import Blob, FilePart, of_segments

_MOST_BYTES = 8 * 1024**3 - 1
"""USTAR's size field has eleven octal digits."""


def tar(folder: str, files: Mapping[str, Path | bytes]) -> Blob:
    """A tar of `folder`/ with `files` (name → where the bytes are). Raises Failure (BAD_DATA)."""
    segments: list[bytes | FilePart] = [_header(f"{folder}/", 0, directory=True)]
    for name in sorted(files):
        part = _part(files[name])
        size = len(part) if isinstance(part, bytes) else part.size
        segments += [_header(f"{folder}/{name}", size), part, b"\0" * (-size % 512)]
    return of_segments((*segments, b"\0" * 1024))


def _part(source: Path | bytes) -> bytes | FilePart:
    if isinstance(source, bytes):
        return source
    size = source.stat().st_size
    if size > _MOST_BYTES:
        raise Failure(Kind.BAD_DATA, f"{source.name} has {size} bytes; 8 GiB is the most")
    return FilePart(source, size)


def _header(name: str, size: int, directory: bool = False) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
    entry.mode = 0o755 if directory else 0o644
    return entry.tobuf(tarfile.USTAR_FORMAT)
