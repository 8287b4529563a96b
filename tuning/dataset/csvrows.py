"""CSV files → rows, as a stream. Called by readers.py.

A row that cannot be read becomes a BadRaw with its line. A quote that is never closed is a Failure:
it hides every row behind it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from presets.problem import shown
from tuning.dataset.rows import MAX_VALUE_BYTES, Bad, BadRaw, Raw, excerpt
from tuning.dataset.textfile import BadLine, Lines, failure, opened


def csv_file(path: Path, name: str) -> Iterator[Raw | BadRaw]:
    """A header and rows, separated by commas (or semicolons or tabs, if the header is)."""
    csv.field_size_limit(MAX_VALUE_BYTES)  # the csv module's only way to set it
    with opened(path, name) as (file, packed_bytes):
        lines = Lines(file, name, packed_bytes)
        header, delimiter = _header(lines, name)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            number = lines.number + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except BadLine as broken:
                yield BadRaw(name, lines.number, broken.bad, excerpt(broken.said))
            except csv.Error as error:
                yield _broken_csv(error, number, name)
            else:
                if cells:
                    yield _csv_row(header, cells, number, name)


def _header(lines: Lines, name: str) -> tuple[list[str], str]:
    try:
        first = next(lines, "")
        delimiter = next((d for d in ",;\t" if d in first), ",")
        header = next(csv.reader([first], delimiter=delimiter, strict=True), [])
    except (BadLine, csv.Error) as error:
        raise failure(f"{name}: the first line is no CSV header ({error})") from error
    header = [cell.strip() for cell in header]
    if not header or len(set(header)) != len(header):
        what = "has no header" if not any(header) else f"names a column twice: {shown(first[:60])}"
        raise failure(f"{name}: the first line {what}; name every column once")
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
        raise failure(f"{what}; close it, or copy the file again if it was cut short")
    return BadRaw(name, number, Bad("is not valid CSV"), excerpt(str(error)))
