"""A text file as bytes and as lines: unpacked, decoded, and no line without a limit.

Below jsonrows.py and csvrows.py.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from tuning.dataset import formats
from tuning.dataset.rows import MAX_ROW_BYTES, Bad
from tuning.failure import Failure, Kind

BOM = b"\xef\xbb\xbf"
_BLOCK = 1024 * 1024
# gzip reaches about 1000:1; text that people write stays far below 100:1.
_BOMB_RATIO = 200
_BOMB_BYTES = 256 * 1024 * 1024


class Lines:
    """The lines of a file as text. A line that is no text raises BadLine, and reading goes on."""

    def __init__(self, file: IO[bytes], name: str, packed_bytes: int | None) -> None:
        self._file, self._name, self._packed_bytes = file, name, packed_bytes
        self.number = 0
        self.whole = True
        """Whether the last line ended with a newline."""
        self._offset = 0

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_ROW_BYTES)
        if not line:
            raise StopIteration
        self.number += 1
        start, self._offset = self._offset, self._offset + len(line)
        self.whole = line.endswith(b"\n")
        if len(line) == MAX_ROW_BYTES and not self.whole:
            self._skip()
            raise BadLine(Bad(f"is larger than {MAX_ROW_BYTES // 2**20} MiB"), "")
        check_bomb(self._offset, self._packed_bytes, self._name)
        if start == 0:
            line = line.removeprefix(BOM)
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            bad = Bad("is not UTF-8 text", f"byte {start + error.start}")
            raise BadLine(bad, line[:80].decode("utf-8", "replace")) from error

    def _skip(self) -> None:
        while not self.whole:
            block = self._file.readline(_BLOCK)
            self._offset += len(block)
            self.whole = not block or block.endswith(b"\n")
            check_bomb(self._offset, self._packed_bytes, self._name)


class BadLine(Exception):
    def __init__(self, bad: Bad, said: str) -> None:
        super().__init__(bad.reason)
        self.bad, self.said = bad, said


@contextmanager
def opened(path: Path, name: str) -> Iterator[tuple[IO[bytes], int | None]]:
    """The unpacked bytes, and the packed size if the file is packed."""
    with path.open("rb") as file:
        if not formats.is_gzip(file.peek(2)):
            yield file, None
            return
        try:
            with gzip.open(file) as unpacked:
                yield cast(IO[bytes], unpacked), path.stat().st_size
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            what = f"{name} is cut short or damaged ({error})"
            raise failure(f"{what}; copy it again") from error


def check_bomb(unpacked_bytes: int, packed_bytes: int | None, name: str) -> None:
    """Raises Failure (BAD_DATA) when a packed file has unpacked to far more than text can."""
    if packed_bytes is None or unpacked_bytes < _BOMB_BYTES:
        return
    if unpacked_bytes > _BOMB_RATIO * packed_bytes:
        what = f"{name} unpacks to more than {_BOMB_RATIO} times its size"
        raise failure(f"{what}; give it unpacked if that is meant")


def failure(sentence: str) -> Failure:
    """What every broken file becomes."""
    return Failure(Kind.BAD_DATA, sentence)
