"""Image ⇄ an OCI image layout: a folder that skopeo and others read as `oci:DIR`.

Specification: opencontainers/image-spec v1.1, "Image Layout". One manifest in the index. The index
is replaced last and at once, so a reader sees the old image or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuning.failure import Failure, Kind
from tuning.images import manifest as manifests
from tuning.images import unpack
from tuning.images.blob import BLOCK_BYTES, Blob, of_bytes
from tuning.images.manifest import Descriptor, Manifest, verified
from tuning.images.oci import MANIFEST_TYPE, Image
from tuning.reference import DIGEST

_MARKER = b'{"imageLayoutVersion":"1.0.0"}'
_NAME = "org.opencontainers.image.ref.name"


def write(image: Image, folder: Path) -> str:
    """Put the image into the layout at `folder`, in place of the one there; returns its digest.

    Raises Failure (BAD_CONFIG) when the folder is something else, or holds several images.
    """
    before = _blobs_of_index(folder)
    try:
        (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        for blob in (*image.blobs, of_bytes(image.manifest)):
            if not _is_whole(_path(folder, blob.digest), blob):
                _write_blob(folder, blob)
        _replace(folder / "oci-layout", _MARKER)
        _replace(folder / "index.json", _index(image))
        for digest in before - {blob.digest for blob in image.blobs} - {image.digest}:
            _path(folder, digest).unlink(missing_ok=True)
    except OSError as error:
        what = f"the layout {folder} cannot be written: {error.strerror}"
        raise Failure(Kind.BAD_CONFIG, f"{what}; name another folder") from error
    return image.digest


def read(folder: Path) -> Manifest:
    """The manifest of the one image in the layout, checked. Raises Failure (BAD_DATA)."""
    entry = _only_entry(folder)
    for _ in range(3):
        content = b"".join(blocks(folder, entry))
        found = manifests.parse(content, entry.digest)
        if isinstance(found, Manifest):
            return found
        entry = found
    raise Failure(Kind.BAD_DATA, f"{folder} holds an index of indexes; name an image")


def blocks(folder: Path, blob: Descriptor) -> Iterator[bytes]:
    """The blob's bytes; raises Failure (BAD_DATA) unless they are those of its digest."""

    def mismatch() -> Failure:
        what = f"the blob {blob.digest} in {folder} was changed"
        return Failure(Kind.BAD_DATA, f"{what}; write the layout again")

    return verified(_file_blocks(_path(folder, blob.digest)), blob, mismatch)


def labels(folder: Path, image: Manifest) -> dict[str, str]:
    """The labels in the image's config."""
    return dict(manifests.labels(b"".join(blocks(folder, image.config))))


def pull(folder: Path, target_dir: Path, wanted: unpack.Wanted = unpack.ADAPTER) -> Manifest:
    """Write the wanted files of the layout's image to `target_dir`, all or none."""
    found = read(folder)
    unpack.unpack_image(found, lambda layer: blocks(folder, layer), target_dir, wanted)
    return found


def _path(folder: Path, digest: str) -> Path:
    return folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _file_blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        what = f"the layout's {path.name[:12]}… cannot be read: {error.strerror}"
        raise Failure(Kind.BAD_DATA, f"{what}; write the layout again") from error


def _is_whole(path: Path, blob: Blob) -> bool:
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == blob.digest
    except OSError:
        return False


def _write_blob(folder: Path, blob: Blob) -> None:
    with _replacing(_path(folder, blob.digest)) as file:
        for block in blob.blocks():
            file.write(block)


def _replace(path: Path, content: bytes) -> None:
    with _replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Any]:
    """A temporary file that becomes `path` when it is whole and on disk; readable by all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file.name)
            raise


def _index(image: Image) -> bytes:
    entry = {
        "mediaType": MANIFEST_TYPE,
        "digest": image.digest,
        "size": len(image.manifest),
        # So that both oci:DIR and oci:DIR:latest name it.
        "annotations": {_NAME: "latest"},
    }
    index = {
        "schemaVersion": 2,
        "mediaType": manifests.INDEX_TYPES[0],
        "manifests": [entry],
    }
    return json.dumps(index, sort_keys=True, separators=(",", ":")).encode()


def _only_entry(folder: Path) -> Descriptor:
    entries = _entries(folder)
    if entries is None:
        what = f"{folder} is not an OCI layout (it has no readable index.json)"
        raise Failure(Kind.BAD_DATA, f"{what}; check the folder")
    if len(entries) != 1:
        what = f"{folder} holds {len(entries)} images, not one"
        raise Failure(Kind.BAD_DATA, f"{what}; name a layout with one image")
    return entries[0]


def _entries(folder: Path) -> list[Descriptor] | None:
    """What the index names; None when there is none that can be read."""
    try:
        index = json.loads((folder / "index.json").read_bytes())
        return [
            Descriptor(str(e["mediaType"]), _checked_digest(e["digest"]), int(e["size"]))
            for e in index["manifests"]
        ]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _checked_digest(value: object) -> str:
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError("not a sha256 digest")
    return value


def _blobs_of_index(folder: Path) -> set[str]:
    """The digests of the image that is to be replaced; none when the folder is new or empty."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return set()
    entries = _entries(folder)
    unfinished = entries is None and (folder / "blobs").is_dir()
    if not unfinished and (entries is None or len(entries) > 1):
        what = f"{folder} is not an OCI layout with one image"
        raise Failure(Kind.BAD_CONFIG, f"{what}; name a new folder")
    try:
        found = read(folder)
    except Failure:
        return set()  # a broken one: its blobs are not ours to delete
    return {found.digest, found.config.digest, *(layer.digest for layer in found.layers)}
