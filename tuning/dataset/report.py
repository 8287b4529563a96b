"""What was found in the data: values for the record, lines for people.

Made by data.py from a Tally, kept in prepared.json, shown by `check` and `run`, and its digests go
into the adapter's provenance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict

from presets.problem import printable


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataFile(_Part):
    name: str
    url: str
    sha256: str
    size_bytes: int


class Reason(_Part):
    """Why rows were dropped."""

    reason: str
    count: int
    first: tuple[str, ...]
    """The first rows: `rows.jsonl row 4 (messages[1].content)`."""
    excerpt: str = ""
    bad: bool = True
    """Counts against DatasetConfig.max_bad_rows; rows that are only too long do not."""


class Lengths(_Part):
    """Tokens an example has before it is cut."""

    min: int
    median: int
    p95: int
    max: int


class DataReport(_Part):
    """All that is known of the data before training."""

    files: tuple[DataFile, ...]
    dataset_digest: str
    """sha256 over the files' digests; the same wherever and whenever they came from."""
    rows: int
    kept: int
    reasons: tuple[Reason, ...] = ()
    duplicates: int = 0
    """Kept rows that equal an earlier one. They stay."""
    kinds: tuple[tuple[str, int], ...] = ()
    """Kept rows that are chats, prompt/completion pairs, texts."""
    lengths: Lengths
    examples: int
    """What is trained and evaluated on; a row may give several."""
    truncated_examples: int = 0
    truncated_tokens: int = 0
    tokens: int
    tokens_with_loss: int
    train_rows: int
    eval_rows: int = 0
    rows_digest: str
    """sha256 of the rows file."""
    eval_rows_digest: str | None = None
    example: str = ""
    """One example as text; what is learned stands in ⟦ ⟧."""
    warnings: tuple[str, ...] = ()

    @property
    def dropped(self) -> int:
        return self.rows - self.kept

    @property
    def loss_share(self) -> float:
        return self.tokens_with_loss / self.tokens

    @property
    def truncated_share(self) -> float:
        """Tokens that are cut off, of all there were."""
        return self.truncated_tokens / (self.tokens + self.truncated_tokens)


def digest_of(files: Iterable[DataFile]) -> str:
    """The data set's digest: over its files' digests, in no order but their own."""
    lines = "".join(sorted(f"{file.sha256}\n" for file in files))
    return hashlib.sha256(lines.encode()).hexdigest()


def lines(report: DataReport) -> Iterator[str]:
    """The report for people, without its warnings."""
    yield f"data: {_files(report)}"
    kept = f"kept {report.kept:,}, dropped {report.dropped:,}"
    yield f"rows: {report.rows:,}, {kept}{_copies(report)}"
    for reason in report.reasons:
        yield f"  {reason.count:,} dropped: {reason.reason} ({', '.join(reason.first)})"
        if reason.excerpt:
            yield f"    {reason.excerpt}"
    split = f"{report.train_rows:,} to train on, {report.eval_rows:,} to evaluate"
    yield f"kinds: {', '.join(f'{count:,} {kind}' for kind, count in report.kinds)}; {split}"
    found = report.lengths
    yield (
        f"tokens an example: min {found.min:,}, median {found.median:,}, p95 {found.p95:,}, "
        f"max {found.max:,}; {report.truncated_examples:,} of {report.examples:,} are cut "
        f"({report.truncated_share:.1%} of the tokens)"
    )
    learned = f"{report.tokens_with_loss:,} learned ({report.loss_share:.0%})"
    yield f"tokens: {report.tokens:,}, {learned}"
    yield "example, what is learned in ⟦ ⟧:"
    yield from (f"  {printable(line)}" for line in report.example.split("\n"))


def _files(report: DataReport) -> str:
    size = sum(file.size_bytes for file in report.files) / 2**20
    names = ", ".join(printable(file.name) for file in report.files[:5])
    more = f" and {len(report.files) - 5} more" if len(report.files) > 5 else ""
    return f"{names}{more} ({size:.1f} MiB, sha256 {report.dataset_digest[:12]}…)"


def _copies(report: DataReport) -> str:
    return f", {report.duplicates:,} exact copies kept" if report.duplicates else ""
