"""Blob: content-addressed bytes that need not be in memory.

oci.py makes blobs out of an adapter folder, upload.py and layout.py read them, whole or from any
offset on. Nothing is copied: a blob is a list of byte strings and files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tuning.failure import Failure, Kind

BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class FilePart:
    """All bytes of a file, which had `size` of them when it was looked at."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes with the digest they have; `digest` is `sha256:` and 64 hex digits."""

    digest: str
    size: int
    segments: tuple[bytes | FilePart, ...]

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[memoryview]:
        """The bytes from `start` up to `stop`, block by block.

        A block is only good until the next one is asked for: its buffer is used again. Raises
        Failure (BAD_DATA) when a file became shorter meanwhile.
        """
        end = self.size if stop is None else min(stop, self.size)
        offset = 0
        for segment in self.segments:
            size = len(segment) if isinstance(segment, bytes) else segment.size
            first, last = max(start - offset, 0), min(end - offset, size)
            if first < last:
                yield from _blocks(segment, first, last)
            offset += size


def of_bytes(content: bytes) -> Blob:
    """The blob of a small piece of JSON."""
    return Blob(sha256(content), len(content), (content,))


def of_segments(segments: tuple[bytes | FilePart, ...]) -> Blob:
    """The blob of these parts in a row. Reads every file once."""
    size = sum(len(s) if isinstance(s, bytes) else s.size for s in segments)
    state = hashlib.sha256()
    for block in Blob("", size, segments).blocks():
        state.update(block)
    return Blob(f"sha256:{state.hexdigest()}", size, segments)


def sha256(content: bytes) -> str:
    """`sha256:` and the hex digits: a digest as the OCI image spec writes it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blocks(segment: bytes | FilePart, first: int, last: int) -> Iterator[memoryview]:
    if isinstance(segment, bytes):
        yield memoryview(segment)[first:last]
        return
    buffer = memoryview(bytearray(min(BLOCK_BYTES, last - first)))
    with segment.path.open("rb", buffering=0) as file:
        file.seek(first)
        left = last - first
        while left:
            count = file.readinto(buffer[: min(left, len(buffer))])
            if not count:
                what = f"{segment.path.name} became shorter while it was read"
                raise Failure(Kind.BAD_DATA, f"{what}; push it again when nothing writes to it")
            left -= count
            yield buffer[:count]
