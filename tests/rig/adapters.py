"""Adapter folders without a training: small, valid, the same every time."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

from tuning.images import oci
from tuning.images.provenance import Provenance

PROVENANCE = Provenance(
    preset="phi-4",
    base_model="acme/base",
    base_revision="0123abc",
    dataset="acme/facts",
    dataset_digest="sha256:" + "d" * 64,
    config_digest="sha256:" + "c" * 64,
    method="qlora",
    rank=8,
    alpha=16,
    seed=42,
    steps=120,
    final_loss=0.125,
    eval_loss=None,
    versions={"peft": "0.21.2", "torch": "2.15.0"},
    title="base adapter",
    licenses="MIT",
)


def adapter_folder(folder: Path, weights_bytes: int = 100_000, seed: int = 1) -> Path:
    """A folder that `oci.build` takes, with weights of about this size that do not compress."""
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["v_proj", "q_proj"]}
    (folder / oci.CONFIG_FILE).write_text(json.dumps(config))
    (folder / "README.md").write_text("# An adapter\n")
    header = json.dumps(
        {"w": {"dtype": "U8", "shape": [weights_bytes], "data_offsets": [0, weights_bytes]}}
    ).encode()
    bits = random.Random(seed)
    with (folder / oci.WEIGHTS_FILE).open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        left = weights_bytes
        while left:
            left -= file.write(bits.randbytes(min(left, 1 << 20)))
    return folder


def adapter_image(folder: Path, weights_bytes: int = 100_000, seed: int = 1) -> oci.Image:
    """The image of a new adapter folder."""
    return oci.build(adapter_folder(folder, weights_bytes, seed), PROVENANCE)
