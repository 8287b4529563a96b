"""Tunery's side of the training benchmark: `python -m benchmarks.ours RUN.json`, a process.

Calls the product's train() with a Run as jobs/resolve.py gave it, and prints its CPU-seconds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tuning import run as runs
from tuning.progress import Progress
from tuning.stop import Stop


class _Loop:
    """A sink that notes when the first and the last step ended."""

    def __init__(self) -> None:
        self.first_s = self.last_s = 0.0

    def progress(self, now: Progress) -> None:
        self.last_s = time.process_time()
        self.first_s = self.first_s or self.last_s

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)


def main(path: str) -> None:
    run = runs.read(Path(path))
    from tuning.train import train  # the libraries: imported before the clock of the work starts

    loop, started_s = _Loop(), time.process_time()
    result = train(run, Stop(), loop)
    facts = {
        "work_cpu_s": time.process_time() - started_s,
        "loop_cpu_s": loop.last_s - loop.first_s,
        "steps": result.steps,
        "loss": result.final_loss,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1])
