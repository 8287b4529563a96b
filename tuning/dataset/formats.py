"""Kinds of data files, told by name and by first bytes. Pure.

Used while downloading (an error page must not pass for data), while looking through a folder, and
by the readers.
"""

from __future__ import annotations

from enum import StrEnum

HEAD_BYTES = 512
"""How much of a file `problem` and `of` want to see."""


class Format(StrEnum):
    PARQUET = "parquet"
    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"


SUFFIXES = {
    ".parquet": Format.PARQUET,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSON,
    ".csv": Format.CSV,
    ".arrow": Format.ARROW,
}
_TEXT = (Format.JSONL, Format.JSON, Format.CSV)
_GZIP = b"\x1f\x8b"
_ARROW_STREAM = b"\xff\xff\xff\xff"
_MAGIC = {b"PAR1": Format.PARQUET, b"ARROW1": Format.ARROW, _ARROW_STREAM: Format.ARROW}
# What often lies where data should: each told from its first bytes, named in the user's words.
_STRANGERS = (
    (b"version https://git-lfs.github.com/spec", "a Git LFS pointer, not the file it points to"),
    (b"PK\x03\x04", "a zip archive; unpack it"),
    (b"\xfd7zXZ\x00", "an xz archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"%PDF-", "a PDF document"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
)
_MARKUP = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<error")


def by_name(name: str) -> Format | None:
    """What the real suffix says; `.gz` counts for text formats only."""
    stem, dot, last = name.lower().rpartition(".")
    if last == "gz" and dot:
        inner = by_name(stem)
        return inner if inner in _TEXT else None
    return SUFFIXES.get(dot + last) if dot and stem else None


def of(name: str, head: bytes, extension: str | None = None) -> Format | None:
    """The format of a file: by its name, else by its bytes, else `dataset_extension`."""
    named = by_name(name)
    if named:
        return named
    if extension and by_name(f"x.{extension.lstrip('.').lower()}"):
        return by_name(f"x.{extension.lstrip('.').lower()}")
    magic = next((f for m, f in _MAGIC.items() if head.startswith(m)), None)
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return magic or {b"{": Format.JSONL, b"[": Format.JSON}.get(first)


def is_gzip(head: bytes) -> bool:
    return head.startswith(_GZIP)


def problem(name: str, head: bytes) -> str | None:
    """Why these first bytes are not what the name promises, as in "NAME is …"; None if they are."""
    if not head:
        return "empty"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_MARKUP):
        return "a web page or an error message in XML, not data; check the link"
    stranger = next((words for magic, words in _STRANGERS if head.startswith(magic)), None)
    if stranger:
        return stranger
    named = by_name(name)
    binary = next((f for m, f in _MAGIC.items() if head.startswith(m)), None)
    if named in (Format.PARQUET, Format.ARROW) and binary is not named:
        return f"no {named} file, whatever its name says"
    if named in _TEXT:
        return _text_problem(name, head, named, binary)
    return None


def _text_problem(name: str, head: bytes, named: Format, binary: Format | None) -> str | None:
    zipped = name.lower().endswith(".gz")
    if is_gzip(head):
        return None
    if zipped:
        return "not compressed with gzip, whatever its name says"
    return f"a {binary} file, not {named}" if binary else None
