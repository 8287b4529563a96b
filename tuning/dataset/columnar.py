"""Parquet and Arrow files → rows, as a stream, with what is enormous refused before it is unpacked.

Called by readers.py. A small file can claim much: pages that unpack a thousandfold, one long value
in a dictionary that every row repeats, a list of a billion nulls. Sizes are judged from the footer
before reading, and on dictionary-encoded batches before they become Python values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from presets.problem import printable, shown
from tuning.dataset.rows import MAX_ROW_BYTES, Bad, BadRaw, Raw
from tuning.failure import Failure, Kind

Choose = Callable[[Sequence[str]], Sequence[str] | Bad]
"""Column names of a file → those that are read, or why no row of it can be used."""

_BATCH_BYTES = 16 * 1024 * 1024
_BATCH_ROWS = 1024
_BUFFER_BYTES = 1024 * 1024
_EASY_BYTES = 64 * 1024 * 1024
"""A batch up to this size becomes Python values in one go."""
_BOMB_BYTES = 256 * 1024 * 1024
_BOMB_RATIO = 1000
_BOMB_VALUES = 20_000_000
_BOMB_VALUES_PER_BYTE = 100
_DICTIONARIES = {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
_BROKEN = (pa.ArrowException, OSError, ValueError, EOFError, OverflowError, MemoryError)


def parquet(path: Path, name: str, choose: Choose) -> Iterator[Raw | BadRaw]:
    """Rows of every row group. Raises Failure (BAD_DATA): cut short, damaged, or a bomb."""
    try:
        with pq.ParquetFile(path) as file:
            _check_claims(file.metadata, path.stat().st_size, name)
            names = _chosen(file.schema_arrow.names, name, choose)
            dictionaries = _dictionary_columns(file.metadata)
        # Dictionaries stay dictionaries, so that their rows can be measured before unpacking.
        opened = pq.ParquetFile(path, read_dictionary=dictionaries, buffer_size=_BUFFER_BYTES)
    except _BROKEN as error:
        raise _damaged(name, error) from error
    with opened:
        yield from _rows(_group_batches(opened, names), name)


def arrow(path: Path, name: str, choose: Choose) -> Iterator[Raw | BadRaw]:
    """Rows of an Arrow IPC file, or of a stream as `datasets` saves it."""
    with pa.memory_map(str(path)) as source:
        try:
            batches = _ipc_batches(source)
            first = next(batches, None)
        except _BROKEN as error:
            raise _damaged(name, error) from error
        if first is None:
            return
        names = _chosen(first.schema.names, name, choose)
        yield from _rows(_small(first, batches, names), name)


def expanded_bytes(array: Any) -> int:
    """How many bytes an array has once its dictionaries are written out."""
    if pa.types.is_dictionary(array.type):
        if len(array.dictionary) == 0 or not _is_stringlike(array.dictionary.type):
            return int(array.nbytes)
        lengths = pc.take(pc.binary_length(array.dictionary), array.indices)
        return int(pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0)
    if pa.types.is_struct(array.type):
        return sum(expanded_bytes(field) for field in array.flatten())
    if pa.types.is_nested(array.type) and hasattr(array, "flatten"):
        return expanded_bytes(array.flatten()) + 4 * len(array)
    return int(array.nbytes)


def _rows(batches: Iterator[Any], name: str) -> Iterator[Raw | BadRaw]:
    number = 0
    while True:
        try:
            batch = next(batches, None)
        except _BROKEN as error:
            raise _damaged(name, error, number + 1) from error
        if batch is None:
            return
        for row in _values(batch):
            number += 1
            yield BadRaw(name, number, row) if isinstance(row, Bad) else Raw(name, number, row)


def _values(batch: Any) -> Iterator[dict[str, Any] | Bad]:
    if sum(expanded_bytes(column) for column in batch.columns) <= _EASY_BYTES:
        try:
            rows: list[dict[str, Any]] = batch.to_pylist()
        except _BROKEN:
            rows = []  # one value cannot be read: find out which
        if rows:
            yield from rows
            return
    for index in range(batch.num_rows):
        yield _one_row(batch.slice(index, 1))


def _one_row(row: Any) -> dict[str, Any] | Bad:
    for name, column in zip(row.schema.names, row.columns, strict=True):
        if expanded_bytes(column) > MAX_ROW_BYTES:
            return Bad(f"is larger than {MAX_ROW_BYTES // 2**20} MiB", printable(name)[:40])
        try:
            column.to_pylist()
        except UnicodeDecodeError:
            return Bad("is not UTF-8 text", printable(name)[:40])
        except _BROKEN:
            return Bad("holds a value that cannot be read", printable(name)[:40])
    values: dict[str, Any] = row.to_pylist()[0]
    return values


def _check_claims(metadata: Any, file_bytes: int, name: str) -> None:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(i) for i in range(group.num_columns)]
        unpacked = sum(c.total_uncompressed_size for c in chunks)
        values = max((c.num_values for c in chunks), default=group.num_rows)
        if unpacked > max(_BOMB_BYTES, _BOMB_RATIO * file_bytes):
            claim = f"unpacks from {file_bytes} to {unpacked} bytes"
        elif values > max(_BOMB_VALUES, _BOMB_VALUES_PER_BYTE * file_bytes):
            claim = f"claims {values} values in {file_bytes} bytes"
        else:
            continue
        what = f"{name}: row group {number} {claim}: that is no training data"
        raise Failure(Kind.BAD_DATA, f"{what}; write the file again from its source")


def _group_batches(file: Any, names: Sequence[str]) -> Iterator[Any]:
    """One row group after the other: Arrow cannot join the dictionaries of nested columns."""
    for number in range(file.metadata.num_row_groups):
        rows = _batch_rows(file.metadata.row_group(number))
        yield from file.iter_batches(rows, row_groups=[number], columns=names, use_threads=False)


def _batch_rows(group: Any) -> int:
    """So many rows that an average batch stays small."""
    average = group.total_byte_size / max(1, group.num_rows)
    return max(1, min(_BATCH_ROWS, int(_BATCH_BYTES / max(1.0, average))))


def _dictionary_columns(metadata: Any) -> list[str]:
    found: dict[str, None] = {}
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in (group.column(i) for i in range(group.num_columns)):
            if column.physical_type == "BYTE_ARRAY" and _DICTIONARIES & set(column.encodings):
                found[column.path_in_schema] = None
    return list(found)


def _ipc_batches(source: Any) -> Iterator[Any]:
    """Checked in full: an offset that lies would make reading crash."""
    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    if is_file:
        reader = pa.ipc.open_file(source)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        batches = iter(pa.ipc.open_stream(source))
    for batch in batches:
        batch.validate(full=True)
        yield batch


def _small(first: Any, rest: Iterator[Any], names: Sequence[str]) -> Iterator[Any]:
    batch: Any = first
    while batch is not None:
        chosen = batch.select(list(names))
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            yield chosen.slice(start, _BATCH_ROWS)
        batch = next(rest, None)


def _chosen(names: Sequence[str], file: str, choose: Choose) -> list[str]:
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise Failure(Kind.BAD_DATA, f"{file}: there are two columns {shown(twice)}; rename one")
    chosen = choose(names)
    if isinstance(chosen, Bad):
        raise Failure(Kind.BAD_DATA, f"{file}: {chosen.reason}")
    return list(chosen)


def _is_stringlike(kind: Any) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    return any(test(kind) for test in tests) or bool(pa.types.is_large_binary(kind))


def _damaged(name: str, error: BaseException, row: int | None = None) -> Failure:
    said = printable(" ".join(str(error).split()))[:160]
    where = f" near row {row}" if row else ""
    sentence = f"{name} is cut short or damaged{where} ({said}); copy it again"
    return Failure(Kind.BAD_DATA, sentence)
