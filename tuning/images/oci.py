"""Adapter folder → OCI image: manifest, config and two layers, as bytes with known digests.

The shape is the one that every reader takes (research: KAITO's puller, containerd, CRI-O, buildah,
Kubernetes image volumes): a plain image manifest without artifactType and without an index, two
uncompressed tars under data/ (what is small, then the weights), a config with exact diff_ids.
Specification: opencontainers/image-spec v1.1. Pure, but for reading the folder's files; registry.py
pushes the result, layout.py writes it to disk.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuning.failure import Failure, Kind
from tuning.images import blob, tarball
from tuning.images.blob import Blob
from tuning.images.provenance import Provenance

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
TITLE = "org.opencontainers.image.title"

FOLDER = "data"
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
SMALL_FILES = (CONFIG_FILE, "README.md", "training.json", "loss.svg", *TOKENIZER_FILES)
"""What the first layer may hold, when the folder has it. Anything else is never published."""

# safetensors refuses longer headers itself (its MAX_HEADER_SIZE).
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True, slots=True)
class Layer:
    """One tar and the name that ORAS-like clients save it under."""

    title: str
    blob: Blob


@dataclass(frozen=True, slots=True)
class Image:
    """An image, ready to be pushed or written. `manifest` is the exact bytes that were hashed."""

    manifest: bytes
    config: Blob
    layers: tuple[Layer, ...]

    @property
    def digest(self) -> str:
        """The image's name for ever: sha256 of the manifest."""
        return blob.sha256(self.manifest)

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """All but the manifest, in the order in which they are uploaded."""
        return (*(layer.blob for layer in self.layers), self.config)

    @property
    def size_bytes(self) -> int:
        """All that a puller downloads."""
        return len(self.manifest) + sum(b.size for b in self.blobs)


def build(adapter_dir: Path, provenance: Provenance) -> Image:
    """The image of the adapter in `adapter_dir`. Raises Failure (BAD_DATA) if it is none.

    Equal files and equal provenance give an equal digest, whatever the machine, user and umask.
    """
    small = _small_files(adapter_dir, provenance)
    weights = adapter_dir / WEIGHTS_FILE
    _check_safetensors(weights)
    layers = (
        Layer("metadata.tar", tarball.tar(FOLDER, small)),
        Layer("weights.tar", tarball.tar(FOLDER, {WEIGHTS_FILE: weights})),
    )
    return assemble(layers, provenance.annotations())


def assemble(layers: tuple[Layer, ...], annotations: dict[str, str]) -> Image:
    """The image of these layers; the annotations are its config's labels too."""
    config = blob.of_bytes(_json(_config(layers, annotations)))
    return Image(_json(_manifest(config, layers, annotations)), config, layers)


def canonical_adapter_config(text: bytes, base_model: str = "") -> bytes:
    """adapter_config.json in the one order it has for us. Raises Failure (BAD_DATA).

    PEFT keeps target_modules and exclude_modules as sets and writes them in an order that differs
    between processes. `base_model` replaces a path of the machine that trained.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure(Kind.BAD_DATA, f"{CONFIG_FILE} is not JSON: {error}") from error
    if not isinstance(config, dict) or "peft_type" not in config:
        raise Failure(Kind.BAD_DATA, f"{CONFIG_FILE} is not a PEFT adapter's (no peft_type)")
    for key in ("target_modules", "exclude_modules", "modules_to_save"):
        names = config.get(key)
        if isinstance(names, list) and all(isinstance(n, str) for n in names):
            config[key] = sorted(names)
    if base_model:
        config["base_model_name_or_path"] = base_model
    return json.dumps(config, sort_keys=True, indent=2, ensure_ascii=False).encode() + b"\n"


def _small_files(adapter_dir: Path, provenance: Provenance) -> dict[str, Path | bytes]:
    if not (adapter_dir / CONFIG_FILE).is_file():
        what = f"{adapter_dir} has no {CONFIG_FILE}"
        raise Failure(Kind.BAD_DATA, f"{what}; name the folder of a finished adapter")
    found: dict[str, Path | bytes] = {
        name: adapter_dir / name for name in SMALL_FILES if (adapter_dir / name).is_file()
    }
    text = (adapter_dir / CONFIG_FILE).read_bytes()
    found[CONFIG_FILE] = canonical_adapter_config(text, provenance.base_model)
    return found


def _check_safetensors(file: Path) -> None:
    """Cheap proof that the weights are whole: the header's last offset is the file's end."""
    if not file.is_file():
        raise Failure(Kind.BAD_DATA, f"{file.parent} has no {WEIGHTS_FILE}; was training finished?")
    with file.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        header = opened.read(length) if 2 <= length <= _LONGEST_HEADER else b""
    try:
        tensors = json.loads(header)
        ends = [t["data_offsets"][1] for name, t in tensors.items() if name != "__metadata__"]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        ends = []
    if not ends or 8 + length + max(ends) != file.stat().st_size:
        what = f"{WEIGHTS_FILE} is not a whole safetensors file"
        raise Failure(Kind.BAD_DATA, f"{what}; train or download it again")


def _config(layers: tuple[Layer, ...], annotations: dict[str, str]) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": annotations},
        # Uncompressed layers: the digest of the tar is the digest of the layer.
        "rootfs": {"type": "layers", "diff_ids": [layer.blob.digest for layer in layers]},
    }


def _manifest(
    config: Blob, layers: tuple[Layer, ...], annotations: dict[str, str]
) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, config),
        "layers": [
            _descriptor(LAYER_TYPE, layer.blob) | {"annotations": {TITLE: layer.title}}
            for layer in layers
        ],
        "annotations": annotations,
    }


def _descriptor(media_type: str, content: Blob) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": content.digest, "size": content.size}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
