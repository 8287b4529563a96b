"""Blocks of a layer, compressed or not → a reader of plain bytes that never holds many of them.

What is compressed is told by magic bytes, not by the media type, which is wrong in some images.
The count of plain bytes is capped: a few kilobytes of gzip can stand for gigabytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from tuning.failure import Failure, Kind

_STEP_BYTES = 1024 * 1024
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


class Reader:
    """Plain bytes, in order. Raises Failure (BAD_DATA) when they end too early."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        parts = []
        while size:
            part = self._next(size)
            if not part:
                break
            parts.append(bytes(part))
            size -= len(part)
        return b"".join(parts)

    def exactly(self, size: int) -> bytes:
        """`size` bytes in memory."""
        content = self.read(size)
        if len(content) < size:
            raise Failure(Kind.BAD_DATA, "a layer ends in the middle of a file; push it again")
        return content

    def copy(self, size: int, write: Callable[[memoryview], object]) -> None:
        """Hand on the next `size` bytes, block by block."""
        while size:
            part = self._next(size)
            if not part:
                raise Failure(Kind.BAD_DATA, "a layer ends in the middle of a file; push it again")
            write(part)
            size -= len(part)

    def skip(self, size: int) -> None:
        self.copy(size, len)

    def drain(self) -> None:
        """Read to the end, so that every byte has been checked."""
        while self._next(_STEP_BYTES):
            pass

    def _next(self, most: int) -> memoryview:
        while not self._block:
            block = next(self._blocks, None)
            if block is None:
                return self._block
            self._block = memoryview(block)
        part, self._block = self._block[:most], self._block[most:]
        return part


def plain(blocks: Iterator[bytes], most_bytes: int) -> Reader:
    """A reader of what `blocks` mean, of which there may be `most_bytes`."""
    first = b""
    for block in blocks:
        first += bytes(block)
        if len(first) >= len(_ZSTD):
            break
    rest = _chain(first, blocks)
    if first.startswith(_GZIP):
        rest = _gunzip(rest)
    elif first.startswith(_ZSTD):
        rest = _unzstd(rest)
    return Reader(_capped(rest, most_bytes))


def _chain(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from blocks


def _capped(blocks: Iterator[bytes], most_bytes: int) -> Iterator[bytes]:
    total = 0
    for block in blocks:
        total += len(block)
        if total > most_bytes:
            what = f"a layer unpacks to more than {most_bytes} bytes"
            raise Failure(Kind.BAD_DATA, f"the image is refused: {what}; do not trust it")
        yield block


def _gunzip(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 1952, several members in a row included."""
    state = zlib.decompressobj(wbits=31)
    try:
        for block in blocks:
            data = bytes(block)
            while data:
                if state.eof:
                    data = data.lstrip(b"\0")
                    state = zlib.decompressobj(wbits=31) if data else state
                    continue
                yield state.decompress(data, _STEP_BYTES)
                data = state.unused_data if state.eof else state.unconsumed_tail
            while not state.eof and (more := state.decompress(b"", _STEP_BYTES)):
                yield more
    except zlib.error as error:
        raise Failure(Kind.BAD_DATA, f"a layer is not gzip ({error}); push it again") from error
    if not state.eof:
        raise Failure(Kind.BAD_DATA, "a layer is cut-off gzip; push it again")


def _unzstd(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 8878, by pyarrow, which the tuner has anyway for its data files."""
    import pyarrow

    try:
        file = pyarrow.PythonFile(_File(blocks), mode="r")
        with pyarrow.CompressedInputStream(file, "zstd") as stream:
            while block := stream.read(_STEP_BYTES):
                yield block
    except OSError as error:
        raise Failure(Kind.BAD_DATA, f"a layer is not zstd ({error}); push it again") from error


class _File:
    """The file protocol that pyarrow asks for."""

    closed = False

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._reader = Reader(blocks)

    def read(self, size: int) -> bytes:
        return self._reader.read(size)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True
