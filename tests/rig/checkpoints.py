"""Checkpoint folders that no training has written: the names are right, the bytes say nothing."""

from pathlib import Path

from tuning.training import checkpoint
from tuning.training.checkpoint import Facts

FILES = {
    "adapter_config.json": b"{}",
    "adapter_model.safetensors": b"w" * 100,
    "optimizer.pt": b"o" * 200,
    "scheduler.pt": b"s",
    "rng_state.pth": b"r",
    "trainer_state.json": b"{}",
}


def known(**changed: object) -> Facts:
    facts = {
        "identity": "i",
        "settings": {"config.lora.r": 16, "method": "lora"},
        "data_sha256": "d",
        "base_weights": "b",
        "world_size": 1,
        "precision": "float32",
    }
    return Facts.model_validate(facts | changed)


VERSIONS = {"torch": "2"}


def saved(work: Path, step: int, facts: Facts | None = None) -> Path:
    folder = written(work, step)
    checkpoint.seal(folder, step, facts or known(), VERSIONS)
    return folder


def written(work: Path, step: int) -> Path:
    folder = work / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder
