"""One file from a URL to disk: whole or not at all, resumed where that is safe, never twice.

Used by sources.py. The file appears under its name only when every byte is there; until then
`.NAME.part` grows beside it, with a note that says which version of the file it belongs to. A
finished file has a note with its digest, so that a rerun keeps it, and notices when it was changed.
"""

from __future__ import annotations

import email.utils
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from urllib3.exceptions import HTTPError

from presets.problem import printable
from tuning.dataset import formats, hops, notes
from tuning.dataset.hops import Answer, Guard, shown
from tuning.dataset.notes import Note
from tuning.failure import Failure, Kind
from tuning.retry import Patience, Transient, patiently

Progress = Callable[[str, int, int | None], None]
"""Told as work goes on: file name, bytes done, bytes in all (None: not known)."""

_BLOCK = 64 * 1024
_SPARE_BYTES = 32 * 1024 * 1024
"""Left free on the disk."""
_PATIENCE = Patience(deadline_s=600, first_wait_s=1, longest_wait_s=60)
_LONGEST_S = 24 * 3600.0
"""A server that trickles for a whole day will not get better."""
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A data file on disk."""

    path: Path
    sha256: str
    size_bytes: int
    url: str
    """Where it came from, without secrets: a URL without query, `hf://…`, or the file's name."""


def fetch(
    url: str,
    target: Path,
    *,
    allow_hosts: tuple[str, ...] = (),
    progress: Progress | None = None,
    guard: Guard | None = None,
    patience: Patience | None = None,
) -> Fetched:
    """Download `url` to `target`, unless it is there already, unchanged.

    Raises Failure: BAD_CONFIG (refused or wrong URL, no such file, no space, not data), NO_ACCESS
    (401, 403), UNAVAILABLE (still failing when patience ends).
    """
    key = hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()
    known = notes.finished(target, key)
    if known:
        return Fetched(target, known.sha256, known.size_bytes or 0, shown(url))
    download = _Download(
        url, key, target, guard or Guard(allow_hosts), progress, time.monotonic() + _LONGEST_S
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        note = patiently(download.attempt, patience or _PATIENCE, download.reached)
        _publish(download, note)
    except OSError as error:
        what = f"{target.name} cannot be written to {target.parent} ({error.strerror})"
        raise Failure(Kind.BAD_CONFIG, f"{what}; free space or give it another volume") from error
    return Fetched(target, note.sha256, note.size_bytes or 0, shown(url))


@dataclass(frozen=True, slots=True)
class _Download:
    url: str
    key: str
    target: Path
    guard: Guard
    progress: Progress | None
    end: float
    """On the monotonic clock."""

    @property
    def part(self) -> Path:
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def part_note(self) -> Path:
        return self.target.with_name(f".{self.target.name}.part.json")

    def reached(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def attempt(self) -> Note:
        """One request; raises Transient when another may do better."""
        begun = self._resumable()
        have = self.reached() if begun else 0
        with hops.opened(self.url, _headers(begun, have), self.guard) as answer:
            if begun and answer.status == 206 and _continues(answer, begun, have):
                return self._receive(answer, begun, have)
            if begun and answer.status in (206, 416):
                self.part.unlink()
                raise Transient(f"{shown(self.url)}: changed while it was downloaded")
            _judge(answer, self.url)
            note = _note(answer, self)
            self.part.unlink(missing_ok=True)
            notes.write(self.part_note, note)
            return self._receive(answer, note, 0)

    def _resumable(self) -> Note | None:
        note = notes.read(self.part_note)
        if note is None or note.url != self.key or not note.validator or not self.part.exists():
            return None
        return note if 0 < self.reached() < (note.size_bytes or 0) else None

    def _receive(self, answer: Answer, note: Note, have: int) -> Note:
        total = note.size_bytes
        self._check_space((total or 0) - have)
        digest: _Hash = hashlib.sha256()
        if have:
            with self.part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256")
        with self.part.open("ab") as file:
            for block in _blocks(answer, self.url):
                if have == 0:
                    _check_content(self.target.name, block, self.url)
                file.write(block)
                digest.update(block)
                have += len(block)
                self._tell(have, total)
            file.flush()
            os.fsync(file.fileno())
        if have == 0:
            _check_content(self.target.name, b"", self.url)
        if total is not None and have != total:
            raise Transient(f"{shown(self.url)}: ended after {have} of {total} bytes")
        return note.model_copy(update={"size_bytes": have, "sha256": digest.hexdigest()})

    def _tell(self, have: int, total: int | None) -> None:
        if time.monotonic() > self.end:
            what = f"is not done after {_LONGEST_S / 3600:.0f} hours"
            raise Failure(Kind.UNAVAILABLE, f"{shown(self.url)}: {what}; use a faster server")
        if total is None and have % (64 * _BLOCK) < _BLOCK:
            self._check_space(0)
        if self.progress:
            self.progress(self.target.name, have, total)

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.target.parent).free
        if needed + _SPARE_BYTES > free:
            what = f"{self.target.name} needs {_size(needed + _SPARE_BYTES)}"
            where = f"{_size(free)} are free in {self.target.parent}"
            raise Failure(Kind.BAD_CONFIG, f"{what}, but only {where}; give it a larger volume")


def _headers(begun: Note | None, have: int) -> dict[str, str]:
    plain = {"User-Agent": "tunery", "Accept": "*/*", "Accept-Encoding": "identity"}
    if begun is None:
        return plain
    return {**plain, "Range": f"bytes={have}-", "If-Range": begun.validator}


def _continues(answer: Answer, begun: Note, have: int) -> bool:
    """Whether a 206 holds the rest of the same version (RFC 9110 §15.3.7)."""
    expected = f"bytes {have}-{(begun.size_bytes or 0) - 1}/{begun.size_bytes}"
    return answer.headers.get("Content-Range") == expected and _validator(answer) == begun.validator


def _judge(answer: Answer, url: str) -> None:
    status, name = answer.status, shown(url)
    if status == 200:
        return
    if status in _TRANSIENT:
        wait_s = _retry_after_s(answer.headers.get("Retry-After", ""))
        raise Transient(f"{name}: the server answers {status}", wait_s)
    if status in (401, 403):
        hint = "use a link that needs no log-in, or renew a signed link that has expired"
        raise Failure(Kind.NO_ACCESS, f"{name}: the server refuses access ({status}); {hint}")
    if status in (404, 410):
        raise Failure(Kind.BAD_CONFIG, f"{name}: there is no such file ({status}); check the link")
    raise Failure(Kind.BAD_CONFIG, f"{name}: the server answers {status}; check the link")


def _retry_after_s(text: str) -> float | None:
    """Seconds or a date (RFC 9110 §10.2.3)."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def _note(answer: Answer, download: _Download) -> Note:
    """What is promised. A body of unknown length could be cut off unnoticed: refused."""
    name = shown(download.url)
    coding = answer.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity" and not download.target.name.endswith(".gz"):
        what = f"sent compressed ({printable(coding)[:20]}) although asked for as it is"
        raise Failure(Kind.BAD_CONFIG, f"{name}: {what}; store it uncompressed, or as a .gz file")
    length = answer.headers.get("Content-Length")
    if length is not None and length.isascii() and length.isdigit():
        return Note(
            url=download.key,
            size_bytes=int(length) if len(length) < 19 else 10**18,
            validator=_validator(answer),
        )
    if "chunked" in answer.headers.get("Transfer-Encoding", "").lower():
        return Note(url=download.key)
    what = "the server does not say how long the file is, so a cut-off could not be noticed"
    raise Failure(Kind.BAD_CONFIG, f"{name}: {what}; serve it with Content-Length")


def _validator(answer: Answer) -> str:
    """What If-Range may carry: a strong ETag, else Last-Modified (RFC 9110 §13.1.5)."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _blocks(answer: Answer, url: str) -> Iterator[bytes]:
    try:
        while block := answer.read(_BLOCK):
            yield block
    except HTTPError as error:
        raise Transient(
            f"{shown(url)}: the connection was lost ({type(error).__name__})"
        ) from error


def _check_content(name: str, first: bytes, url: str) -> None:
    problem = formats.problem(name, first[: formats.HEAD_BYTES])
    if problem:
        raise Failure(Kind.BAD_CONFIG, f"{shown(url)}: what came is {problem}")


def _publish(download: _Download, note: Note) -> None:
    """Note before name: a file without a matching note is fetched again, never trusted."""
    notes.write(notes.beside(download.target), note)
    download.part.replace(download.target)
    download.part_note.unlink(missing_ok=True)
    folder = os.open(download.target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
