"""A process a card, started by the first: they train one run, fail as one, leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from rig.tiny import make_run, write_rows

from tuning import run as runs
from tuning.run import Run

FIRST = """
import sys
from pathlib import Path
from tuning import run as runs
from tuning.progress import Quiet
from tuning.stop import Stop
from tuning.together import together
run = runs.read(Path(sys.argv[1]))
with together(run, 2, grace_s=float(sys.argv[3])):
    if sys.argv[2] == "hangs":
        import time
        time.sleep(100)
    from tuning.train import train
    reached = train(run, Stop(), Quiet())
    print(reached.steps, reached.epochs)
"""


def short(folder: Path, base: Path) -> Run:
    message = folder.with_name(f"{folder.name}-message")
    message.touch()
    made = make_run(folder, base, training={"max_steps": 2})
    places = made.places.model_copy(update={"termination_log": str(message)})
    write_rows(places.rows_file)
    return made.model_copy(update={"places": places})


def begin(run: Run, first: str = "trains", grace_s: int = 60) -> subprocess.CompletedProcess[str]:
    file = run.places.work_dir / "run.json"
    runs.write(run, file)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    return subprocess.run(
        [sys.executable, "-c", FIRST, str(file), first, str(grace_s)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_two_share_the_rows(base: Path, tmp_path: Path) -> None:
    run = short(tmp_path / "work", base)
    done = begin(run)
    assert done.returncode == 0, done.stderr
    # 64 rows in batches of 16 are two steps for two processes, four for one.
    assert done.stdout.split() == ["2", "1.0"]
    assert run.places.adapter_dir.is_dir()


def test_another_that_fails_ends_the_first_with_its_code_and_words(
    base: Path, tmp_path: Path
) -> None:
    run = short(tmp_path / "work", base)
    run = run.model_copy(update={"model": run.model.model_copy(update={"path": "/nowhere"})})
    done = begin(run, "hangs", grace_s=1)
    assert done.returncode == 78, done.stderr
    said = json.loads(Path(run.places.termination_log or "").read_text())
    assert (said["state"], said["kind"]) == ("failed", "BadConfig")
    assert "/nowhere" in said["sentence"]
