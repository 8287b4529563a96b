"""What `prepare` found: written last, so its presence means that all before it is whole.

Read by `train` and `push` (what the model and the data are) and by `tunery check` and `run` (what
to tell). Imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tuning.dataset.report import DataReport
from tuning.failure import Failure, Kind
from tuning.result import replace
from tuning.run import Part, Run, canonical


class Prepared(Part):
    """`prepared.json`."""

    identity: str
    """Of the run it was prepared for."""
    model_folder: str
    model_revision: str | None
    report: DataReport
    sequences: int
    """What one epoch feeds the model, after packing."""
    steps: int
    tokens: int
    """Real tokens of the whole run."""
    warnings: tuple[str, ...] = ()


def write(prepared: Prepared, path: Path) -> None:
    """Write prepared.json whole or not at all."""
    replace(path, canonical(prepared.model_dump(mode="json")) + b"\n")


def read(run: Run) -> Prepared:
    """What was prepared for this run. Raises Failure (BAD_CONFIG) when nothing was."""
    found = read_if_any(run)
    if found is None:
        sentence = f"nothing is prepared in {run.places.work}; run `prepare` first"
        raise Failure(Kind.BAD_CONFIG, sentence)
    return found


def read_if_any(run: Run) -> Prepared | None:
    """The same, or None when there is none for this run."""
    try:
        found = Prepared.model_validate_json(run.places.prepared_file.read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.identity == run.identity() else None
