"""All benchmarks, or some: `python -m benchmarks [training answers registry memory startup]`.

Each is a module of its own that prints Markdown; here they run one after the other, each under a
time limit, and what they print is also kept in out/benchmarks/NAME.md, for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import ROOT

_LIMITS_S = {"startup": 120, "registry": 600, "memory": 1200, "training": 1500, "answers": 1500}
"""In this order: quick ones first. On two free cores all of them take about half an hour."""
_PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "oras", "pydantic")


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_LIMITS_S))
    asked = parser.parse_args(words).names or list(_LIMITS_S)
    unknown = sorted(set(asked) - set(_LIMITS_S))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(_LIMITS_S)}")
    print(_where() + "\n")
    return max([_one(name, ROOT / "out" / "benchmarks") for name in asked])


def _one(name: str, folder: Path) -> int:
    """Run one benchmark, show its lines as they come and keep them. Returns 1 when it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    print(f"## {name}\n", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    with (folder / f"{name}.md").open("w") as kept, _limited(command, _LIMITS_S[name]) as process:
        kept.write(_where() + "\n\n")
        for line in process.stdout or ():
            kept.write(line)
            print(line, end="", flush=True)
    if process.returncode:
        print(f"{name}: ended with {process.returncode} (limit {_LIMITS_S[name]} s)", flush=True)
    return 1 if process.returncode else 0


@contextmanager
def _limited(command: Sequence[str], limit_s: float) -> Iterator[subprocess.Popen[str]]:
    """A process that ends, with all it started, at the limit or when the block is left early."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    timer = threading.Timer(limit_s, os.killpg, (process.pid, signal.SIGTERM))
    timer.start()
    try:
        yield process
        process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _where() -> str:
    """Day, kind of machine, versions: what a table is worth nothing without."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {_gpu()}"
    return f"{time.strftime('%Y-%m-%d')}; {machine}; Python {platform.python_version()}, {versions}"


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


if __name__ == "__main__":
    sys.exit(main())
