"""What a run reached: `Record` goes into the adapter folder, `Result` stays beside it.

`Record` is the same in every equal run (no clock, no path, no host name), so that the image digest
is too. `Result` says it to this machine: written last, its presence means that training is
finished. Imports no torch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tuning.run import Part, Run, canonical


class Point(Part):
    """One point of a curve."""

    step: int
    loss: float
    """Nats per trained token."""


class Record(Part):
    """Everything about the training that an equal run repeats exactly; `training.json`."""

    method: str
    base_model: str
    revision: str | None
    data: str
    """Where the rows came from, without credentials or local paths."""
    data_sha256: str
    """Of the checked rows, in training order."""
    rows: int
    eval_rows: int
    steps: int
    epochs: float
    tokens: int
    """Tokens the model saw, over all epochs."""
    tokens_with_loss: int
    """Those it was trained to say."""
    trainable_parameters: int
    train_loss: float
    """Mean of all steps."""
    final_loss: float
    """Mean of the last twentieth of the steps."""
    eval_loss: float | None
    seed: int
    dtype: str
    curve: tuple[Point, ...]
    """Training loss, each point the mean of an equal share of the steps; at most 500 points."""
    eval_curve: tuple[Point, ...]
    settings: dict[str, Any]
    """The training configuration as resolved."""
    versions: dict[str, str]
    identity: str
    """Run.identity()."""


class Result(Part):
    """`result.json`: the finished training as the next word (push) and the user see it."""

    identity: str
    data_sha256: str
    adapter_sha256: str
    """Of adapter_model.safetensors."""
    steps: int
    epochs: float
    train_loss: float
    final_loss: float
    eval_loss: float | None
    tokens: int
    tokens_with_loss: int
    seconds: float
    """In the training loop of the process that finished it."""
    peak_memory_gib: float
    """Of the card, or of the process on a CPU."""
    versions: dict[str, str]


def write(result: Result, path: Path) -> None:
    """Write result.json whole or not at all."""
    replace(path, canonical(result.model_dump(mode="json")) + b"\n")


def read(path: Path) -> Result | None:
    """The result at `path`; None when there is none, or none that can be read."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def replace(path: Path, content: bytes) -> None:
    """Put `content` at `path`, on disk, in one step."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def source_of(run: Run) -> str:
    """Where the rows come from, as it may stand in public: no query, no credentials, no folder."""
    data = run.data
    if data.kind == "urls":
        return ", ".join(url.split("?")[0].split("#")[0].rsplit("/", 1)[-1] for url in data.urls)
    if data.kind == "path":
        return Path(data.path or "").name
    return data.dataset or data.image or ""
