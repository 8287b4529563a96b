"""Manifest bytes from a registry or a layout → what to download, or a sentence why not.

Specification: opencontainers/image-spec v1.1 (manifest, index) and Docker's schema 2, which older
tools still push. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from presets.problem import shown
from tuning.failure import Failure, Kind
from tuning.images.oci import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE
from tuning.reference import DIGEST

_DOCKER = "application/vnd.docker."
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    f"{_DOCKER}distribution.manifest.list.v2+json",
)
IMAGE_TYPES = (MANIFEST_TYPE, f"{_DOCKER}distribution.manifest.v2+json")
ACCEPT = ", ".join((*IMAGE_TYPES, *INDEX_TYPES))
_CONFIG_TYPES = (CONFIG_TYPE, f"{_DOCKER}container.image.v1+json")
_LAYER_TYPES = (
    LAYER_TYPE,
    f"{LAYER_TYPE}+gzip",
    f"{LAYER_TYPE}+zstd",
    f"{_DOCKER}image.rootfs.diff.tar",
    f"{_DOCKER}image.rootfs.diff.tar.gzip",
)
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""What registries accept (distribution spec)."""
MAX_CONFIG_BYTES = 4 * 1024 * 1024
_MOST_LAYERS = 128


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob that a manifest names."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image, as its manifest describes it."""

    digest: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]

    @property
    def size_bytes(self) -> int:
        """Of all layers, as downloaded."""
        return sum(layer.size for layer in self.layers)


def parse(content: bytes, digest: str) -> Manifest | Descriptor:
    """The image; or, of an index, the manifest to look at instead. Raises Failure (BAD_DATA)."""
    found = _object(content)
    if "manifests" in found:
        return _choose(found["manifests"])
    layers = found.get("layers")
    if not isinstance(layers, list) or len(layers) > _MOST_LAYERS:
        raise _not_an_image(f"its manifest has no list of at most {_MOST_LAYERS} layers")
    config = _descriptor(found.get("config"))
    if config.media_type not in _CONFIG_TYPES:
        raise _not_an_image(f"its config is {shown(config.media_type)}")
    described = tuple(_descriptor(layer) for layer in layers)
    for layer in described:
        if layer.media_type not in _LAYER_TYPES:
            raise _not_an_image(f"a layer is {shown(layer.media_type)}")
    return Manifest(digest, config, described, _strings(found.get("annotations")))


def labels(config: bytes) -> Mapping[str, str]:
    """The labels of an image's config; none when it has none."""
    inner = _object(config).get("config")
    return _strings(inner.get("Labels")) if isinstance(inner, dict) else {}


def verified(
    blocks: Iterator[bytes], expected: Descriptor, mismatch: Callable[[], Exception]
) -> Iterator[bytes]:
    """The same blocks; at their end raises `mismatch()` unless digest and size are as expected."""
    state, size = hashlib.sha256(), 0
    for block in blocks:
        size += len(block)
        if size > expected.size:
            raise mismatch()
        state.update(block)
        yield block
    if size != expected.size or f"sha256:{state.hexdigest()}" != expected.digest:
        raise mismatch()


def _choose(entries: object) -> Descriptor:
    """linux/amd64 first, else the first image at all: an adapter runs nowhere, it is data."""
    usable: list[tuple[bool, int, Descriptor]] = []
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("mediaType") not in IMAGE_TYPES:
            continue
        if "vnd.docker.reference.type" in _strings(entry.get("annotations")):
            continue  # buildkit's attestations look like images of no platform
        platform = entry.get("platform")
        found = platform if isinstance(platform, dict) else {}
        wanted = (found.get("os"), found.get("architecture")) == ("linux", "amd64")
        usable.append((not wanted, len(usable), _descriptor(entry)))
    if not usable:
        raise _not_an_image("its index names no image")
    return min(usable, key=lambda one: one[:2])[2]


def _descriptor(value: object) -> Descriptor:
    entry = value if isinstance(value, dict) else {}
    media_type, digest, size = (entry.get(key) for key in ("mediaType", "digest", "size"))
    if not isinstance(media_type, str) or not isinstance(digest, str):
        raise _not_an_image("its manifest is not well formed")
    if not DIGEST.fullmatch(digest) or type(size) is not int or size < 0:
        raise _not_an_image("its manifest has no sha256 digest or no size for a blob")
    return Descriptor(media_type, digest, size)


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _not_an_image("its manifest or config is not a JSON object")
    return found


def _strings(value: object) -> dict[str, str]:
    items = value.items() if isinstance(value, dict) else ()
    return {k: v for k, v in items if isinstance(v, str)}


def _not_an_image(why: str) -> Failure:
    return Failure(Kind.BAD_DATA, f"this is not an image that can be unpacked ({why})")
