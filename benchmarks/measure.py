"""CPU-seconds of whole processes, taken in turns: how every table here is made.

A machine that is shared makes wall-clock times worthless and drifts over minutes. So each
contestant is a process of its own, what counts is its CPU time (user and system, children
included), the contestants take turns, and a ratio compares two runs of the same round.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that ended with 0."""

    cpu_s: float
    """User and system, of the process and of the children it waited for."""
    said: str
    """Its standard output."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The JSON object in the last line of its output."""
        found: Mapping[str, Any] = json.loads(self.said.splitlines()[-1])
        return found


@dataclass(frozen=True, slots=True)
class Ratio:
    """How one contestant compares with another over the rounds."""

    lowest: float
    median: float
    highest: float

    def __str__(self) -> str:
        return f"{self.lowest:.2f} / **{self.median:.2f}** / {self.highest:.2f}"


def run(command: Sequence[str], cwd: Path = ROOT, exit_codes: Sequence[int] = (0,)) -> Finished:
    """Run a command to its end. Raises RuntimeError with its last words when it fails."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, cwd=cwd, env={**os.environ, **_ENVIRONMENT}, stdout=out, stderr=err
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in exit_codes:
            words = _text(err).strip()[-2000:]
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {words}")
        return Finished(usage.ru_utime + usage.ru_stime, _text(out))


def python(module: str, *words: str) -> Finished:
    """`python -m MODULE WORDS…` with this interpreter, in the repository."""
    return run([sys.executable, "-m", module, *words])


def in_turns(contestants: Mapping[str, Callable[[int], T]], rounds: int) -> dict[str, list[T]]:
    """Every contestant once a round; each round begins with another one."""
    names = list(contestants)
    found: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(contestants[name](number))
    return found


def ratio(one: Sequence[float], other: Sequence[float]) -> Ratio:
    """one / other, round by round."""
    each = [a / b for a, b in zip(one, other, strict=True)]
    return Ratio(min(each), statistics.median(each), max(each))


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors="replace"))
