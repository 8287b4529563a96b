"""Data files → checked rows, ready to tokenise, and a report on them.

Last step of `prepare` before the weights matter. Every row is read, brought into its normal form
(shapes.py), tokenised as training will (tokens.py) and counted (tally.py); what is kept is shuffled
and split once, here, and written as JSON lines, whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from presets.problem import shown
from tuning.config import DatasetSection
from tuning.dataset import order
from tuning.dataset.fetch import Fetched
from tuning.dataset.notices import warnings
from tuning.dataset.readers import read_rows
from tuning.dataset.report import DataFile, DataReport, digest_of
from tuning.dataset.rows import Bad, BadRaw, Raw, Row, excerpt, to_json
from tuning.dataset.shapes import Columns, convert, detect
from tuning.dataset.tally import Tally
from tuning.dataset.tokens import Encoded, Limits, encode_within
from tuning.failure import Failure, Kind
from tuning.run import Run

__all__ = ["DataReport", "prepare_rows", "read_rows"]

_TOLD_EVERY = 1_000


def prepare_rows(
    run: Run,
    files: Sequence[Fetched],
    tokenizer: Any,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> DataReport:
    """Check every row, write run.places.rows_file (and eval_rows_file), and report.

    `progress` is told ("rows", rows so far, None). Raises Failure (BAD_DATA) when more rows than
    DatasetConfig.max_bad_rows are bad, or nothing to train on is left.
    """
    tally = Tally()
    staged = run.places.work_dir / ".rows.checked"
    try:
        with staged.open("w+b") as file:
            offsets = _checked_rows(run, files, tokenizer, tally, file, progress)
            _require(tally, run.config.dataset, files)
            dataset = run.config.dataset
            trained, held = order.split(
                tally.kept, dataset.train_test_split, dataset.shuffle_dataset, dataset.shuffle_seed
            )
            held_digest = _write(file, offsets, held, run.places.eval_rows_file)
            digest = _write(file, offsets, trained, run.places.rows_file)
    except OSError as error:
        what = f"the checked rows cannot be written to {run.places.work} ({error.strerror})"
        raise Failure(Kind.BAD_CONFIG, f"{what}; free space or give it another volume") from error
    finally:
        staged.unlink(missing_ok=True)
    noticed = warnings(tally, run.config, tokenizer, tally.shared(held, trained), len(held))
    return _report(tally, files, trained, held, digest or "", held_digest, noticed)


def _checked_rows(
    run: Run,
    files: Sequence[Fetched],
    tokenizer: Any,
    tally: Tally,
    file: IO[bytes],
    progress: Callable[[str, int, int | None], None] | None,
) -> array[int]:
    """Write every row that can be used; where each begins."""
    columns = Columns.of(run.config.dataset, run.config.training)
    limits = Limits.of(run.config.training)
    offsets = array("Q")

    def choose(names: Sequence[str]) -> Sequence[str] | Bad:
        shape = detect(tuple(names), columns)
        return shape if isinstance(shape, Bad) else [n for n in names if n in shape.reads()]

    for raw in read_rows(files, run.config.dataset, choose):
        judged = _judged(raw, columns, tokenizer, limits)
        if isinstance(judged, Bad):
            said = "" if tally.knows(judged) else _said(raw)
            tally.drop(raw.file, raw.number, judged, said)
        else:
            row, encoded = judged
            line = to_json(row)
            offsets.append(file.tell())
            file.write(line + b"\n")
            tally.keep(row, line, encoded, tokenizer)
        if progress and tally.rows % _TOLD_EVERY == 0:
            progress("rows", tally.rows, None)
        if tally.hopeless:
            break
    return offsets


def _judged(
    raw: Raw | BadRaw, columns: Columns, tokenizer: Any, limits: Limits
) -> tuple[Row, list[Encoded]] | Bad:
    if isinstance(raw, BadRaw):
        return raw.bad
    row = convert(raw.row, columns)
    if isinstance(row, Bad):
        return row
    encoded = encode_within(row, tokenizer, limits)
    return encoded if isinstance(encoded, Bad) else (row, encoded)


def _said(raw: Raw | BadRaw) -> str:
    return raw.excerpt if isinstance(raw, BadRaw) else excerpt(raw.row)


def _require(tally: Tally, dataset: DatasetSection, files: Sequence[Fetched]) -> None:
    """Raises Failure (BAD_DATA) unless there is enough to train on."""
    if not tally.rows:
        names = ", ".join(shown(f.path.name) for f in files[:5])
        raise Failure(Kind.BAD_DATA, f"the data has no rows ({names or 'no files'})")
    if tally.bad > tally.rows * dataset.max_bad_rows:
        allowed = f"{dataset.max_bad_rows:.3g} of all may be (DatasetConfig.max_bad_rows)"
        what = f"{tally.bad:,} of {tally.rows:,} rows cannot be used, and at most {allowed}"
        bad = "; ".join(_told(tally, bad=True))
        raise Failure(Kind.BAD_DATA, f"{what}: {bad}; correct these rows, or raise the limit")
    if not tally.kept:
        what = f"none of the {tally.rows:,} rows can be used: {'; '.join(_told(tally, bad=False))}"
        hint = "raise TrainingArguments.max_length" if tally.too_long else "correct these rows"
        raise Failure(Kind.BAD_DATA, f"{what}; {hint}")


def _told(tally: Tally, *, bad: bool) -> Iterator[str]:
    reasons = [r for r in tally.reasons if r.bad or not bad]
    for reason in reasons[:3]:
        yield f"{', '.join(reason.first)}: {reason.reason}"
    if len(reasons) > 3:
        yield f"and {len(reasons) - 3} more reasons"


def _write(
    source: IO[bytes], offsets: Sequence[int], numbers: Sequence[int], target: Path
) -> str | None:
    """The rows with these numbers, in this order, whole or not at all; their sha256."""
    target.unlink(missing_ok=True)
    if not numbers:
        return None
    digest = hashlib.sha256()
    temporary = target.with_name(f".{target.name}.part")
    with temporary.open("wb") as file:
        for number in numbers:
            source.seek(offsets[number])
            line = source.readline()
            digest.update(line)
            file.write(line)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    return digest.hexdigest()


def _report(
    tally: Tally,
    files: Sequence[Fetched],
    trained: Sequence[int],
    held: Sequence[int],
    digest: str,
    held_digest: str | None,
    noticed: tuple[str, ...],
) -> DataReport:
    listed = tuple(
        DataFile(name=f.path.name, url=f.url, sha256=f.sha256, size_bytes=f.size_bytes)
        for f in files
    )
    return DataReport(
        files=listed,
        dataset_digest=digest_of(listed),
        rows=tally.rows,
        kept=tally.kept,
        reasons=tally.reasons,
        duplicates=tally.duplicates(),
        kinds=tuple((kind, count) for kind, count in tally.kinds.items() if count),
        lengths=tally.lengths(),
        examples=tally.examples,
        truncated_examples=tally.truncated_examples,
        truncated_tokens=tally.truncated_tokens,
        tokens=tally.tokens,
        tokens_with_loss=tally.tokens_with_loss,
        train_rows=len(trained),
        eval_rows=len(held),
        rows_digest=digest,
        eval_rows_digest=held_digest,
        example=tally.example,
        warnings=noticed,
    )
