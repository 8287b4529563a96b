"""A controller under load: what it is, and its process with its numbers.

`benchmarks.operator` measures these. CPU and memory are the kernel's figures of the process,
requests are what the controller itself counts on /metrics. KAITO's is in kaito.py.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.measure import ROOT

_TICKS = os.sysconf("SC_CLK_TCK")
_START_LIMIT_S = 120
_REST_LIMIT_S = 120
_PORT = 18080


@dataclass(frozen=True, slots=True)
class Contestant:
    """How a controller is started, what it finds in the cluster, how its counters read."""

    name: str
    command: Sequence[str]
    settings: Mapping[str, str]
    """Environment variables, beside ours."""
    ready: str
    """A URL that answers 200 once it works."""
    metrics: str
    requests: str
    """A pattern of /metrics: verb, count. "": it does not tell."""
    looks: str
    """Likewise of reconciles: count."""
    crds: Sequence[Path]
    """Files or folders."""
    objects: Sequence[Mapping[str, Any]] = ()


TUNERY = Contestant(
    name="tunery",
    command=(sys.executable, "operator/main.py"),
    settings={
        "TUNERY_TUNER_IMAGE": "registry.example.com/tuner:1",
        "TUNERY_METRICS_PORT": str(_PORT),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "",  # an image holds what was compiled
    },
    ready=f"http://127.0.0.1:{_PORT}/readyz",
    metrics=f"http://127.0.0.1:{_PORT}/metrics",
    requests=r'^tunery_api_requests_total\{code="\d+",verb="(\w+)"\} (\S+)$',
    looks=r"^tunery_reconcile_seconds_count (\S+)$",
    crds=(ROOT / "charts" / "tunery" / "files" / "crd.yaml",),
)
"""Started as in its image."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process since its start."""

    cpu_s: float
    """User and system, of all its threads."""
    rss_mib: float
    peak_mib: float


class Running:
    """A contestant's process."""

    def __init__(self, contestant: Contestant, log: Path, session: aiohttp.ClientSession) -> None:
        self.ready_s = 0.0
        """From its start until it answered that it works."""
        self._contestant, self._log, self._session = contestant, log, session
        self._began = time.monotonic()
        with log.open("w") as out:
            self._process = subprocess.Popen(
                contestant.command,
                cwd=ROOT,
                env={**os.environ, **contestant.settings},
                stdout=out,
                stderr=out,
            )

    def usage(self) -> Usage:
        folder = Path(f"/proc/{self._process.pid}")
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        memory = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", (folder / "status").read_text()))
        ticks = int(fields[11]) + int(fields[12])
        mib = {name: int(kib) / 1024 for name, kib in memory.items()}
        return Usage(ticks / _TICKS, mib["VmRSS"], mib["VmHWM"])

    async def requests(self) -> dict[str, int]:
        """Requests to the API server so far, by verb; none when it does not tell."""
        found: dict[str, int] = {}
        if not self._contestant.requests:
            return found
        for verb, count in await self._counted(self._contestant.requests):
            found[verb] = found.get(verb, 0) + int(float(count))
        return found

    async def looks(self) -> int:
        """Reconciles so far."""
        return sum(int(float(count)) for count in await self._counted(self._contestant.looks))

    async def ready(self) -> None:
        """Wait until it works. Raises RuntimeError with its last words when it does not."""
        while time.monotonic() < self._began + _START_LIMIT_S and self._process.poll() is None:
            try:
                async with self._session.get(self._contestant.ready) as answer:
                    if answer.status == 200:
                        self.ready_s = time.monotonic() - self._began
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)
        words = "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
        raise RuntimeError(f"{self._contestant.name} did not start:\n{words}")

    async def at_rest(self) -> None:
        """Wait until it has used no CPU to speak of for a second; not for ever."""
        deadline, before = time.monotonic() + _REST_LIMIT_S, self.usage().cpu_s
        while time.monotonic() < deadline:
            await asyncio.sleep(1)
            now = self.usage().cpu_s
            if now - before < 0.03:
                return
            before = now

    def stop(self) -> float:
        """SIGTERM; seconds until it was gone."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        return time.monotonic() - began

    def kill(self) -> None:
        """Not left behind, whatever happens."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    async def _counted(self, pattern: str) -> list[Any]:
        async with self._session.get(self._contestant.metrics) as answer:
            return re.findall(pattern, await answer.text(), re.MULTILINE)


@asynccontextmanager
async def running(
    contestant: Contestant, log: Path, session: aiohttp.ClientSession
) -> AsyncIterator[Running]:
    """Started, and at rest since."""
    process = Running(contestant, log, session)
    try:
        await process.ready()
        await process.at_rest()
        yield process
    finally:
        process.kill()
