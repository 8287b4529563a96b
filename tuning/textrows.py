"""JSON lines, JSON and CSV files → rows, as a stream. Called by readers.py.

A row that cannot be read becomes a BadRaw with its line; a file that was cut short, or whose rest
cannot be told apart from what is broken, is a Failure. Never more than one row in memory, but for
JSON files that are one object.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from presets.problem import shown
from tuning import formats
from tuning.failure import Failure, Kind
from tuning.rows import MAX_ROW_BYTES, MAX_VALUE_BYTES, Bad, BadRaw, Raw, excerpt
from tuning.values import kind_of

_BOM = b"\xef\xbb\xbf"
_BLOCK = 1024 * 1024
_MAX_OBJECT_BYTES = 256 * 1024 * 1024
# gzip reaches about 1000:1; text that people write stays far below 100:1.
_BOMB_RATIO = 200
_BOMB_BYTES = 1024 * 1024 * 1024
_LIST_KEYS = ("data", "rows", "train", "examples", "instances")
_SPACE = re.compile(r"[ \t\r\n]*")


class _Lines:
    """The lines of a file as text. A line that is no text raises _BadLine, and reading goes on."""

    def __init__(self, file: IO[bytes], name: str, packed_bytes: int | None) -> None:
        self._file, self._name, self._packed_bytes = file, name, packed_bytes
        self.number = 0
        self.whole = True
        """Whether the last line ended with a newline."""
        self._offset = 0

    def __iter__(self) -> _Lines:
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
            raise _BadLine(Bad(f"is larger than {MAX_ROW_BYTES // 2**20} MiB"), "")
        _check_bomb(self._offset, self._packed_bytes, self._name)
        if start == 0:
            line = line.removeprefix(_BOM)
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            bad = Bad("is not UTF-8 text", f"byte {start + error.start}")
            raise _BadLine(bad, line[:80].decode("utf-8", "replace")) from error

    def _skip(self) -> None:
        while not self.whole:
            block = self._file.readline(_BLOCK)
            self._offset += len(block)
            self.whole = not block or block.endswith(b"\n")
            _check_bomb(self._offset, self._packed_bytes, self._name)


class _BadLine(Exception):
    def __init__(self, bad: Bad, said: str) -> None:
        super().__init__(bad.reason)
        self.bad, self.said = bad, said


def jsonl(path: Path, name: str) -> Iterator[Raw | BadRaw]:
    """One JSON object a line; blank lines are passed over."""
    with _opened(path, name) as (file, packed_bytes):
        lines = _Lines(file, name, packed_bytes)
        while True:
            try:
                line = next(lines)
            except StopIteration:
                return
            except _BadLine as broken:
                yield BadRaw(name, lines.number, broken.bad, excerpt(broken.said))
                continue
            if line.strip():
                yield _json_line(line, lines, name)


def json_file(path: Path, name: str) -> Iterator[Raw | BadRaw]:
    """A list of objects, `{"data": [objects]}`, or JSON lines with the wrong suffix."""
    with _opened(path, name) as (file, _):
        first = file.read(formats.HEAD_BYTES).removeprefix(_BOM).lstrip()[:1]
    if first == b"[":
        return _array(path, name)
    whole = _whole_object(path, name)
    if whole is None:
        return jsonl(path, name)
    found = next((whole[k] for k in _LIST_KEYS if isinstance(whole.get(k), list)), None)
    return (_as_row(row, n, name) for n, row in enumerate([whole] if found is None else found, 1))


def csv_file(path: Path, name: str) -> Iterator[Raw | BadRaw]:
    """A header and rows, separated by commas (or semicolons or tabs, if the header is)."""
    csv.field_size_limit(MAX_VALUE_BYTES)  # the csv module's only way to set it
    with _opened(path, name) as (file, packed_bytes):
        lines = _Lines(file, name, packed_bytes)
        header, delimiter = _header(lines, name)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            number = lines.number + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except _BadLine as broken:
                yield BadRaw(name, lines.number, broken.bad, excerpt(broken.said))
            except csv.Error as error:
                yield _broken_csv(error, number, name)
            else:
                if cells:
                    yield _csv_row(header, cells, number, name)


def _json_line(line: str, lines: _Lines, name: str) -> Raw | BadRaw:
    try:
        return _as_row(json.loads(line), lines.number, name)
    except (ValueError, RecursionError):
        if not lines.whole:
            what = f"{name} ends in the middle of row {lines.number}"
            raise _failure(f"{what}; it was cut short: copy it again") from None
        return BadRaw(name, lines.number, Bad("is not valid JSON"), excerpt(line.strip()))


def _as_row(value: object, number: int, name: str) -> Raw | BadRaw:
    if isinstance(value, Mapping):
        return Raw(name, number, value)
    bad = Bad(f"is {kind_of(value)}, not an object with named values")
    return BadRaw(name, number, bad, excerpt(value))


def _whole_object(path: Path, name: str) -> dict[str, Any] | None:
    """The file as one JSON object; None when it is not one (JSON lines, or too large to be)."""
    with _opened(path, name) as (file, _):
        raw = file.read(_MAX_OBJECT_BYTES + 1)
    if len(raw) > _MAX_OBJECT_BYTES:
        return None
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _array(path: Path, name: str) -> Iterator[Raw | BadRaw]:
    """The objects of one JSON list, one at a time."""
    decoder = json.JSONDecoder()
    with _opened(path, name) as (file, packed_bytes):
        text = _Text(file, name, packed_bytes)
        text.skip("[")
        number = 0
        while not text.at_end("]"):
            number += 1
            yield _as_row(text.value(decoder, number), number, name)


class _Text:
    """A window that slides over a JSON text."""

    def __init__(self, file: IO[bytes], name: str, packed_bytes: int | None) -> None:
        self._file, self._name, self._packed_bytes = file, name, packed_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._read_bytes = 0
        self._window, self._at = "", 0

    def skip(self, character: str) -> bool:
        """Pass over white space, then over `character` if it comes next; "" is white space only."""
        while True:
            match = _SPACE.match(self._window, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._window) or not self._more(_BLOCK):
                break
        found = bool(character) and self._window.startswith(character, self._at)
        self._at += found
        return found

    def at_end(self, character: str) -> bool:
        """Whether the list is over; passes over the comma when it is not."""
        if self.skip(character):
            return True
        self.skip(",")
        self.skip("")
        return False

    def value(self, decoder: json.JSONDecoder, number: int) -> object:
        """The next value, wholly read. Raises Failure: what follows a broken one is unknown."""
        while True:
            try:
                value, end = decoder.raw_decode(self._window, self._at)
                if end < len(self._window):
                    self._at = end
                    return value
            except (ValueError, RecursionError):
                if len(self._window) - self._at > MAX_ROW_BYTES:
                    raise _failure(
                        f"{self._name}: row {number} is not valid JSON, or larger than "
                        f"{MAX_ROW_BYTES // 2**20} MiB; correct it, or write JSON lines"
                    ) from None
            if not self._more(max(_BLOCK, len(self._window) - self._at)):
                what = f"{self._name} ends, or is no valid JSON, in row {number}"
                raise _failure(f"{what}; if it was cut short, copy it again")

    def _more(self, count: int) -> bool:
        block = self._file.read(count)
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            pending = len(error.object) - len(block)
            at = self._read_bytes - pending + error.start
            raise _failure(
                f"{self._name} is not UTF-8 text at byte {at}; save it as UTF-8"
            ) from None
        self._read_bytes += len(block)
        _check_bomb(self._read_bytes, self._packed_bytes, self._name)
        self._window, self._at = self._window[self._at :] + text, 0
        return bool(block)


def _header(lines: _Lines, name: str) -> tuple[list[str], str]:
    try:
        first = next(lines, "")
        delimiter = next((d for d in ",;\t" if d in first), ",")
        header = next(csv.reader([first], delimiter=delimiter, strict=True), [])
    except (_BadLine, csv.Error) as error:
        raise _failure(f"{name}: the first line is no CSV header ({error})") from error
    header = [cell.strip() for cell in header]
    if not header or len(set(header)) != len(header):
        what = "has no header" if not any(header) else f"names a column twice: {shown(first[:60])}"
        raise _failure(f"{name}: the first line {what}; name every column once")
    return header, delimiter


def _csv_row(header: list[str], cells: list[str], number: int, name: str) -> Raw | BadRaw:
    if len(cells) == len(header):
        return Raw(name, number, dict(zip(header, cells, strict=True)))
    bad = Bad("has not as many values as the header", f"{len(cells)} of {len(header)}")
    return BadRaw(name, number, bad, excerpt(cells))


def _broken_csv(error: csv.Error, number: int, name: str) -> BadRaw:
    """A quote that is never closed hides all rows after it: that is no single bad row."""
    if "end of data" in str(error) or "field larger" in str(error):
        what = f"{name}: a quote opened in line {number} is not closed"
        raise _failure(f"{what}; close it, or copy the file again if it was cut short")
    return BadRaw(name, number, Bad("is not valid CSV"), excerpt(str(error)))


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[IO[bytes], int | None]]:
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
            raise _failure(f"{what}; copy it again") from error


def _check_bomb(unpacked_bytes: int, packed_bytes: int | None, name: str) -> None:
    if packed_bytes is None or unpacked_bytes < _BOMB_BYTES:
        return
    if unpacked_bytes > _BOMB_RATIO * packed_bytes:
        what = f"{name} unpacks to more than {_BOMB_RATIO} times its size"
        raise _failure(f"{what}; give it unpacked if that is meant")


def _failure(sentence: str) -> Failure:
    return Failure(Kind.BAD_DATA, sentence)
