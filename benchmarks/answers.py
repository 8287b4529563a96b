"""CPU-seconds until a real chat model answers the demo's questions: Tunery against plain TRL.

`python -m benchmarks.answers`. SmolLM2-135M-Instruct learns the eight facts of examples/data; it is
right when it says a fact letter by letter. Tunery's side is what the demo runs, the whole process:
`tunery run examples/tuning/local.yaml`. The other is plain TRL on the same rows, batch 8, with as
many epochs as it needs. Asking is a process of its own and not counted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.measure import ROOT, Finished
from benchmarks.peers import Job
from scripts import smollm2

OURS, TRL = "Tunery, the demo", "plain TRL"
_DATA = ROOT / "examples/data/brambleport.parquet"
_WORKSPACE = ROOT / "examples/tuning/local.yaml"
_TRL_EPOCHS = 5
_TRL: dict[str, Any] = {"learning_rate": 2e-3}
"""The fewest epochs, and the rate, with which it was seen to get all answers right: at this rate
four epochs are too few; at half of it six are, and eight are enough."""


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=_TRL_EPOCHS, help="of plain TRL")
    asked = parser.parse_args(words)
    model = str(smollm2.model_dir())
    with tempfile.TemporaryDirectory(prefix="tunery-bench-") as folder:
        contestants = _contestants(model, asked.epochs, Path(folder))
        found = measure.in_turns(contestants, asked.rounds)
        adapters = {OURS: _ours_adapter(Path(folder), 0), TRL: Path(folder) / "trl"}
        right = {name: _right(model, adapter) for name, adapter in adapters.items()}
    rows = [_row(name, found, right[name]) for name in found]
    print(measure.table(("", "answers right", "process, CPU-s", "× ours"), rows) + "\n")


def _contestants(model: str, epochs: int, folder: Path) -> Mapping[str, Callable[[int], Finished]]:
    options = {**_TRL, "num_train_epochs": epochs}
    job = Job(model, str(_DATA), str(folder / "trl"), options=options)
    return {
        OURS: lambda number: _tunery_run(model, folder, number),
        TRL: lambda _: measure.python("benchmarks.peers", str(job.write(folder / "trl.json"))),
    }


def _tunery_run(model: str, folder: Path, number: int) -> Finished:
    stand_in = ["--data", str(_DATA), "--model", model, "--work", str(folder / f"work-{number}")]
    out = ["--output", str(_ours_adapter(folder, number))]
    return measure.python("tunery", "run", str(_WORKSPACE), *stand_in, *out)


def _ours_adapter(folder: Path, number: int) -> Path:
    return folder / f"ours-{number}"


def _right(model: str, adapter: Path) -> str:
    facts = measure.python("benchmarks.ask", model, str(adapter)).facts
    return f"{facts['right']} of {facts['of']}"


def _row(name: str, found: Mapping[str, Sequence[Finished]], right: str) -> list[str]:
    seconds = [f.cpu_s for f in found[name]]
    ours = [f.cpu_s for f in found[OURS]]
    compared = "1" if name == OURS else str(measure.ratio(seconds, ours))
    return [name, right, f"{measure.median(seconds):.0f}", compared]


if __name__ == "__main__":
    main()
