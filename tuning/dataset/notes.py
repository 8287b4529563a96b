"""What stands beside a downloaded file: which version of which URL it is, and its digest.

Kept by fetch.py in hidden files of the same folder, so that a rerun can tell a file that is whole
from one that was changed, and a part that may be resumed from one that may not.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class Note(BaseModel):
    """What stands beside a file: of which URL (as sha256), which version, how large."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str
    size_bytes: int | None = None
    validator: str = ""
    """Strong ETag or Last-Modified of a file under way."""
    sha256: str = ""
    """Of a finished file."""


def finished(target: Path, key: str) -> Note | None:
    """The note of a file that is whole, unchanged and of this URL; else None."""
    note = read(beside(target))
    if note is None or note.url != key or not target.is_file():
        return None
    if target.stat().st_size != note.size_bytes or file_sha256(target) != note.sha256:
        return None
    return note


def beside(target: Path) -> Path:
    """Where a finished file's note lies."""
    return target.with_name(f".{target.name}.fetched.json")


def read(path: Path) -> Note | None:
    """The note, or None when there is none that can be read."""
    try:
        return Note.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write(path: Path, note: Note) -> None:
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(note.model_dump_json(), encoding="utf-8")
    temporary.replace(path)


def file_sha256(path: Path) -> str:
    """sha256 of a file, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
