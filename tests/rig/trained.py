"""Train a Run in this process or in one of its own, and watch it.

As a program, `python tests/rig/trained.py RUN.json [kill|fail AT]`: trains in a fresh process, and
kills itself with SIGKILL, or fails, when that step has been reported.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tuning import run as runs
from tuning.failure import Failure, Kind
from tuning.progress import Progress
from tuning.result import Result
from tuning.run import Run
from tuning.stop import Stop


class Watcher:
    """A sink that keeps what it is told, and may ask for a stop, die or fail at a step."""

    def __init__(
        self, stop_at: int | None = None, kill_at: int | None = None, fail_at: int | None = None
    ) -> None:
        self.stop = Stop()
        self.steps: list[Progress] = []
        self.notes: list[str] = []
        self._stop_at, self._kill_at, self._fail_at = stop_at, kill_at, fail_at

    def progress(self, now: Progress) -> None:
        self.steps.append(now)
        if self._stop_at is not None and now.step >= self._stop_at:
            self.stop.request("the test")
        if self._kill_at is not None and now.step >= self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fail_at is not None and now.step >= self._fail_at:
            raise Failure(Kind.OUT_OF_MEMORY, "the test's")

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    run: Run
    result: Result
    watcher: Watcher

    @property
    def adapter(self) -> Path:
        return self.run.places.adapter_dir


def go(run: Run, stop_at: int | None = None) -> Trained:
    """Train a run whose rows are in place; `stop_at`: ask for a stop when that step is told.

    The Trainer reports a step after it has asked whether to stop, so the run ends one step later.
    """
    from tuning.train import train

    watcher = Watcher(stop_at)
    return Trained(run, train(run, watcher.stop, watcher), watcher)


def go_elsewhere(
    run: Run,
    kill_at: int | None = None,
    hash_seed: int = 0,
    processes: int = 1,
    fail_at: int | None = None,
) -> int:
    """The same in a fresh process with one thread; returns its exit code (negative: the signal).

    With several `processes` they train together, as torchrun starts them (on one machine, gloo).
    """
    path = run.places.work_dir / "run.json"
    runs.write(run, path)
    many = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(many if processes > 1 else []), __file__, str(path)]
    command += [] if kill_at is None else ["kill", str(kill_at)]
    command += [] if fail_at is None else ["fail", str(fail_at)]
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    return subprocess.run(command, env=env, check=False, timeout=240).returncode


def folder_sha256(folder: Path) -> dict[str, str]:
    """File name → sha256 of everything in a folder."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def _main(path: str, how: str = "", at: str = "0") -> None:
    from tuning.train import train

    watcher = Watcher(**{f"{how}_at": int(at)} if how else {})
    train(runs.read(Path(path)), watcher.stop, watcher)


if __name__ == "__main__":
    _main(*sys.argv[1:])
