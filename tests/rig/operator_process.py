"""The operator as a process on a real cluster, as its image starts it; and one that dies on order.

    with started(machine, tmp_path / "log") as operator:
        operator.ready()
        operator.process.send_signal(signal.SIGTERM)

It runs on the host with the machine's network, so its signals, files and exit code are plain ones.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.kube import Machine

from cluster.network import entered

ROOT = Path(__file__).resolve().parents[2]
MAIN = ("operator/main.py",)
DYING = ("-P", str(Path(__file__).with_name("dying_operator.py")))
"""-P: not the folder of this file first; it has a kube.py too."""


@dataclass(frozen=True)
class Operator:
    """A process that was started, and where it answers."""

    machine: Machine
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def get(self, path: str) -> tuple[int, str]:
        """(status, text); status 0 while nobody answers."""
        with entered(self.machine.pid):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except OSError as error:
                return 0, str(error)
            finally:
                connection.close()

    def ready(self, limit_s: float = 60) -> None:
        deadline = time.monotonic() + limit_s
        while self.get("/readyz")[0] != 200:
            told = self.log.read_text()[-2000:]
            assert self.process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.1)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name with these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            had = dict(re.findall(r'(\w+)="([^"]*)"', found[1] or "")) if found else {}
            if found and labels.items() <= had.items():
                total += float(found[2])
        return total

    def writes(self) -> float:
        """To the API server so far."""
        verbs = ("apply", "patch", "patch_status", "create", "delete", "update")
        return sum(self.metric("tunery_api_requests_total", verb=verb) for verb in verbs)

    def at_rest(self, quiet_s: float = 2.5) -> None:
        """Nothing was reconciled or written for a moment, which is longer than a key rests."""
        before = -1.0
        while before != (now := self._done()):
            before = now
            time.sleep(quiet_s)

    def _done(self) -> float:
        """Looks and writes so far, but for a lease's renewals: they never end."""
        renewals = self.metric("tunery_api_requests_total", verb="update")
        return self.writes() - renewals + self.metric("tunery_reconcile_seconds_count")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Its exit code, and after how many seconds."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(60), time.monotonic() - began


@contextmanager
def started(
    machine: Machine, log: Path, command: Sequence[str] = MAIN, **settings: str
) -> Iterator[Operator]:
    """`settings` are environment variables over the usual ones. Killed at the end at the latest."""
    with entered(machine.pid):
        port = _free_port()
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}",
            "KUBECONFIG": str(machine.layout.kubeconfig),
            "TUNERY_TUNER_IMAGE": "localhost/tunery/none:1",
            "TUNERY_IMAGE_PULL_POLICY": "Never",
            "TUNERY_METRICS_PORT": str(port),
            **settings,
        }
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=environment, stdout=out, stderr=out
            )
    try:
        yield Operator(machine, process, port, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
