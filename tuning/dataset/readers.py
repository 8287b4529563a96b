"""Data files → rows: which reader for which file.

Called by data.py with what sources.py gathered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from tuning.config import DatasetSection
from tuning.dataset import csvrows, formats, jsonrows
from tuning.dataset.fetch import Fetched
from tuning.dataset.formats import Format
from tuning.dataset.rows import Bad, BadRaw, Raw
from tuning.failure import Failure, Kind

Choose = Callable[[Sequence[str]], Sequence[str] | Bad]


def read_rows(
    files: Iterable[Fetched],
    dataset: DatasetSection,
    choose: Choose = lambda names: names,
) -> Iterator[Raw | BadRaw]:
    """Every row of every file, in order; what cannot be read as BadRaw with its number.

    `choose` picks the columns that are worth reading from files that keep columns apart. Raises
    Failure (BAD_DATA) for a file that is cut short, damaged, not what its name says, or a bomb.
    """
    for file in files:
        yield from _read(file, dataset.dataset_extension, choose)


def _read(file: Fetched, extension: str | None, choose: Choose) -> Iterator[Raw | BadRaw]:
    name = file.path.name
    try:
        with file.path.open("rb") as opened:
            head = opened.read(formats.HEAD_BYTES)
    except OSError as error:
        raise Failure(Kind.BAD_DATA, f"{name} cannot be read ({error.strerror})") from error
    problem = formats.problem(name, head)
    if problem:
        raise Failure(Kind.BAD_DATA, f"{name} is {problem}")
    match formats.of(name, head, extension):
        case Format.JSONL:
            return jsonrows.jsonl(file.path, name)
        case Format.JSON:
            return jsonrows.json_file(file.path, name)
        case Format.CSV:
            return csvrows.csv_file(file.path, name)
        case None:
            known = ", ".join(formats.SUFFIXES)
            what = f"what kind of file {name} is cannot be told; give it one of the suffixes"
            raise Failure(Kind.BAD_DATA, f"{what} {known}, or set DatasetConfig.dataset_extension")
        case columnar_format:
            from tuning.dataset import columnar  # Arrow takes a third of a second to load

            reader = columnar.parquet if columnar_format is Format.PARQUET else columnar.arrow
            return reader(file.path, name, choose)
