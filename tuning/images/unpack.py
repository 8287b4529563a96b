"""Image layers → files in a folder, through an allow-list; nothing else in a tar has any effect.

Called by registry.py (pull) and layout.py with streams whose digests are checked meanwhile. Reads
headers itself with tarfile's parser instead of tarfile's extractor: what is not a plain file under
data/ with a wanted name is never written, memory stays flat, and a file is created by us with our
own mode. Formats: POSIX ustar and pax, GNU long names (tar(5)); gzip and zstd by their magic bytes.
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from presets.problem import shown
from tuning.failure import Failure, Kind
from tuning.images.decompress import Reader, plain
from tuning.images.manifest import Descriptor, Manifest
from tuning.images.oci import CONFIG_FILE, FOLDER, SMALL_FILES, WEIGHTS_FILE

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_. +=@-]{0,199}"
_NO_SUFFIX = r"[A-Za-z0-9_][A-Za-z0-9_ +=@-]{0,199}"
_LONGEST_PAX = 64 * 1024
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_KNOWN = (*tarfile.SUPPORTED_TYPES, *_EXTENSIONS)
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
_SETUID_SETGID = 0o6000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files under data/ are taken. Others are left out, if they are harmless."""

    pattern: re.Pattern[str]
    """Of the path below data/."""
    required: tuple[str, ...] = ()
    max_files: int = 10_000
    max_bytes: int = 1024**4


ADAPTER = Wanted(
    re.compile("|".join(re.escape(name) for name in (*SMALL_FILES, WEIGHTS_FILE))),
    required=(CONFIG_FILE, WEIGHTS_FILE),
    max_files=64,
    max_bytes=64 * 1024**3,
)
"""A LoRA adapter: no pickles, no code."""

_ROWS = r"(?:parquet|arrow|(?:jsonl|ndjson|json|csv)(?:\.gz)?|md|txt)"
DATA_FILES = Wanted(re.compile(rf"(?:{_NAME}/){{0,8}}(?:{_NAME}\.{_ROWS}|{_NO_SUFFIX})"))
"""Rows, in folders if need be; a file without a suffix may be rows too (dataset_extension)."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    size: int
    header: tarfile.TarInfo


def check_target(target_dir: Path) -> None:
    """Raises Failure (BAD_CONFIG) unless `target_dir` can become a new folder."""
    try:
        taken = target_dir.exists() and (not target_dir.is_dir() or any(target_dir.iterdir()))
    except OSError as error:
        raise _cannot_write(target_dir, error) from error
    if taken:
        what = f"{target_dir} exists and is not an empty folder"
        raise Failure(Kind.BAD_CONFIG, f"{what}; choose another, or delete it first")


def unpack_image(
    image: Manifest,
    blocks: Callable[[Descriptor], Iterator[bytes]],
    target_dir: Path,
    wanted: Wanted,
) -> None:
    """Write the wanted files of all layers to `target_dir`, or nothing. Raises Failure.

    `blocks` opens a layer; what it raises when the bytes are not those of the digest passes
    through, and goes before any complaint about those bytes.
    """
    if image.size_bytes > wanted.max_bytes:
        what = f"the image has {image.size_bytes} bytes, more than {wanted.max_bytes}"
        raise Failure(Kind.BAD_DATA, f"{what}; it is not what it is taken for")
    check_target(target_dir)
    try:
        target_dir.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{target_dir.name}-"
        with tempfile.TemporaryDirectory(prefix=prefix, dir=target_dir.parent) as temporary:
            folder = Path(temporary) / "data"
            folder.mkdir()
            for layer in image.layers:
                _unpack_checked(blocks(layer), layer.size, folder, wanted)
            check_complete(folder, wanted)
            _readable_by_all(folder)
            folder.replace(target_dir)
    except OSError as error:
        raise _cannot_write(target_dir, error) from error


def _unpack_checked(blocks: Iterator[bytes], size: int, folder: Path, wanted: Wanted) -> None:
    try:
        unpack_layer(blocks, size, folder, wanted)
    except Failure:
        # Bytes that changed on the way are a broken tar too: let the digest have its say.
        for _ in blocks:
            pass
        raise


def _readable_by_all(folder: Path) -> None:
    """Folders as 0755, whatever the umask: a server under another uid reads them."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def _cannot_write(target_dir: Path, error: OSError) -> Failure:
    return Failure(Kind.BAD_CONFIG, f"{target_dir} cannot be written: {error.strerror or error}")


def unpack_layer(blocks: Iterator[bytes], size: int, folder: Path, wanted: Wanted) -> None:
    """Write the wanted files of one layer of `size` (compressed) bytes into `folder`.

    Reads `blocks` to their end, so that whoever yields them has seen every byte. A later layer
    may replace a file of an earlier one; one layer may not name a file twice. Raises Failure
    (BAD_DATA) for what no honest tool writes; `folder` is then to be thrown away.
    """
    budget = min(wanted.max_bytes, max(64 * 1024**2, 200 * size))
    reader = plain(blocks, budget)
    seen: set[str] = set()
    for entry in _entries(reader):
        name = _checked(entry)
        padded = entry.size + -entry.size % tarfile.BLOCKSIZE
        if name is None or not wanted.pattern.fullmatch(name):
            reader.skip(padded)
            continue
        if name in seen or len(seen) >= wanted.max_files:
            raise _refused(entry.name, "is in the layer twice, or the layer has too many files")
        seen.add(name)
        _write(folder / name, reader, entry.size)
        reader.skip(padded - entry.size)
    reader.drain()


def check_complete(folder: Path, wanted: Wanted) -> None:
    """Raises Failure (BAD_DATA) when the image lacked a required file, or had none at all."""
    for name in wanted.required:
        if not (folder / name).is_file():
            what = f"the image has no /{FOLDER}/{name}"
            raise Failure(Kind.BAD_DATA, f"{what}; it is not an adapter image")
    if not any(folder.iterdir()):
        raise Failure(Kind.BAD_DATA, f"the image has no usable file under /{FOLDER}")


def _entries(reader: Reader) -> Iterator[_Entry]:
    """Every entry, with the names and sizes that extension headers before it say."""
    overrides: dict[str, str] = {}
    while True:
        header = _header(reader)
        if header is None:
            return
        if header.type in _EXTENSIONS:
            overrides |= _extension(reader, header)
            continue
        size = header.size if header.isreg() else 0
        if "size" in overrides and header.isreg():
            size = _number(overrides["size"])
        yield _Entry(overrides.get("path", header.name), size, header)
        overrides = {}


def _header(reader: Reader) -> tarfile.TarInfo | None:
    """The next header; None at the end (a block of zeros, or no more bytes)."""
    block = reader.read(tarfile.BLOCKSIZE)
    if not block or not block.strip(b"\0"):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise Failure(Kind.BAD_DATA, f"a layer is not a tar ({error}); push it again") from error
    if header.size < 0 or header.type not in _KNOWN:
        raise _refused(header.name, "has a negative size or an unknown type")
    return header


def _extension(reader: Reader, header: tarfile.TarInfo) -> dict[str, str]:
    """What a pax header or a GNU long name says of the next entry (of no entry: a global one)."""
    if header.size > _LONGEST_PAX:
        raise _refused(header.name, "has an extension header of more than 64 KiB")
    content = reader.exactly(header.size)
    reader.skip(-header.size % tarfile.BLOCKSIZE)
    if header.type == tarfile.GNUTYPE_LONGLINK:
        return {}
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": content.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    found = _pax_records(content)
    if any(key.startswith("GNU.sparse") for key in found):
        raise _refused(header.name, "is a sparse file")
    return {} if header.type == tarfile.XGLTYPE else found


def _pax_records(content: bytes) -> dict[str, str]:
    """`LENGTH key=value\\n` records (POSIX pax)."""
    found = {}
    while content.strip(b"\0"):
        length, _, _ = content.partition(b" ")
        end = _number(length.decode("ascii", "replace"))
        record, content = content[len(length) + 1 : end], content[end:]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or end <= len(length):
            raise Failure(Kind.BAD_DATA, "a layer has a broken pax header; push it again")
        found[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "surrogateescape")
    return found


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise Failure(Kind.BAD_DATA, f"a layer has a broken pax header ({shown(text)})")
    return int(text)


def _checked(entry: _Entry) -> str | None:
    """The path below data/ of a plain file; None for what does not concern us. Refuses the rest."""
    parts = [part for part in entry.name.split("/") if part not in ("", ".")]
    if entry.name.startswith("/") or ".." in parts or "\0" in entry.name:
        raise _refused(entry.name, "is not a path below the image's root")
    if entry.header.type == tarfile.GNUTYPE_SPARSE:
        raise _refused(entry.name, "is a sparse file")
    if parts[:1] != [FOLDER] or entry.header.isdir():
        return None
    if entry.header.type not in _REGULAR or len(parts) == 1:
        raise _refused(entry.name, "is not a plain file (a link, a device or a pipe)")
    if entry.header.mode & _SETUID_SETGID:
        raise _refused(entry.name, "is setuid or setgid")
    return "/".join(parts[1:])


def _write(path: Path, reader: Reader, size: int) -> None:
    """Create the file anew, readable by all, and never through a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, flags, 0o644)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _refused(path.name, "is both a file and a folder") from error
    with open(descriptor, "wb", buffering=0) as file:
        os.fchmod(file.fileno(), 0o644)
        reader.copy(size, file.write)


def _refused(name: str, why: str) -> Failure:
    return Failure(Kind.BAD_DATA, f"the image is refused: {shown(name)} {why}; do not trust it")
