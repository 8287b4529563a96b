"""What the operator costs: N Workspaces from `kubectl apply` to Succeeded, then at rest, then
restarted.

    python -m benchmarks.operator --workspaces 1000 --json out.json

On the cluster of cluster/ with the nodes of simulated_pods.py. The operator is a process of its
own, started as in its image; its CPU and memory are the kernel's figures, its requests its own
counters on /metrics. Latencies come from watches of this process: what a user would see.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Run as a file, this folder would be first, and this very file everybody's `operator`.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT / "benchmarks"]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import kopf

import wire
from benchmarks import simulated_pods
from benchmarks.measure import table
from cluster.control import kubectl
from cluster.layout import Layout, default
from cluster.network import entered
from cluster.session import borrowed
from cluster.up import Options
from kube import Kube, Source

_NAMESPACE = "bench"
_NAMESPACE_BODY = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
_CRD = ROOT / "charts" / "tunery" / "files" / "crd.yaml"
_PORT = 18080
_METRICS = f"http://127.0.0.1:{_PORT}"
_WRITES = ("apply", "patch", "patch_status", "delete", "update")
"""Beside Events, which are the only objects that are created."""
_IDLE_S = 60
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process since its start."""

    cpu_s: float
    rss_mib: float
    peak_mib: float


class Operator:
    """A process; its numbers from /proc and from /metrics."""

    def __init__(self, log: Path) -> None:
        settings = {
            "TUNERY_TUNER_IMAGE": "registry.example.com/tuner:1",
            "TUNERY_METRICS_PORT": str(_PORT),
            "PYTHONDONTWRITEBYTECODE": "",  # an image holds what was compiled
        }
        command = [sys.executable, "-m", "kopf", "run", "--standalone", "-A", "operator/main.py"]
        self.began = time.monotonic()
        with log.open("w") as out:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **settings}, stdout=out, stderr=out
            )

    def usage(self) -> Usage:
        folder = Path(f"/proc/{self._process.pid}")
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        memory = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", (folder / "status").read_text()))
        ticks = int(fields[11]) + int(fields[12])
        mib = {name: int(kib) / 1024 for name, kib in memory.items()}
        return Usage(ticks / _TICKS, mib["VmRSS"], mib["VmHWM"])

    async def requests(self, session: aiohttp.ClientSession) -> dict[str, int]:
        """Requests to the API server so far, by verb."""
        text = await self._get(session, "/metrics")
        found: dict[str, int] = {}
        pattern = r'^tunery_api_requests_total\{code="\d+",verb="(\w+)"\} (\S+)$'
        for verb, count in re.findall(pattern, text, re.MULTILINE):
            found[verb] = found.get(verb, 0) + int(float(count))
        return found

    async def looks(self, session: aiohttp.ClientSession) -> int:
        """Reconciles so far."""
        text = await self._get(session, "/metrics")
        found = re.search(r"^tunery_reconcile_seconds_count (\S+)$", text, re.MULTILINE)
        return int(float(found[1])) if found else 0

    async def ready(self, session: aiohttp.ClientSession) -> float:
        """Wait for it; seconds since the process was started."""
        while True:
            if self._process.poll() is not None:
                raise RuntimeError("the operator ended")
            try:
                async with session.get(_METRICS + "/readyz") as answer:
                    if answer.status == 200:
                        return time.monotonic() - self.began
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)

    async def at_rest(self, session: aiohttp.ClientSession) -> None:
        """Wait until it has used no CPU to speak of for a second."""
        before = self.usage().cpu_s
        while True:
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

    async def _get(self, session: aiohttp.ClientSession, path: str) -> str:
        async with session.get(_METRICS + path) as answer:
            return await answer.text()


@dataclass
class Seen:
    """When this process saw what, by Workspace; seconds of the monotonic clock."""

    created: dict[str, float] = field(default_factory=dict)
    job: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    """Its pod."""
    succeeded: dict[str, float] = field(default_factory=dict)

    def take_job(self, body: Mapping[str, Any]) -> None:
        self.job.setdefault(body["metadata"]["name"], time.monotonic())

    def take_pod(self, body: Mapping[str, Any]) -> None:
        if (body.get("status") or {}).get("phase") == "Succeeded":
            name = body["metadata"]["labels"].get("kaito.sh/workspace", "")
            self.ended.setdefault(name, time.monotonic())

    def take_workspace(self, body: Mapping[str, Any]) -> None:
        if (body.get("status") or {}).get("state") == "Succeeded":
            self.succeeded.setdefault(body["metadata"]["name"], time.monotonic())


async def watching(kube: Kube, source: Source, take: Any) -> None:
    version = (await kube.page(source)).version
    while True:
        async for event in kube.watch(source, version, 3000):
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] in ("ADDED", "MODIFIED"):
                take(event["object"])


def workspace(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": _NAMESPACE},
        "resource": {
            "instanceType": simulated_pods.SKU,
            "labelSelector": {"matchLabels": {"app": simulated_pods.APP}},
        },
        "tuning": {
            "preset": {"name": "phi-3-mini-128k-instruct"},
            "method": "qlora",
            "input": {"urls": ["https://example.com/rows.parquet"]},
            "output": {
                "image": f"registry.example.com/bench/{name}:1",
                "imagePushSecret": "push",
            },
        },
    }


async def create(kube: Kube, seen: Seen, names: Sequence[str], rate: float) -> None:
    """At this rate, however long each takes."""

    async def one(name: str) -> None:
        await kube.create(workspace(name))
        seen.created[name] = time.monotonic()

    began = time.monotonic()
    async with asyncio.TaskGroup() as creations:
        for number, name in enumerate(names):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            creations.create_task(one(name))


async def life(operator: Operator, kube: Kube, session: aiohttp.ClientSession, given: Any) -> Any:
    """From the first creation to the last Succeeded."""
    seen, names = Seen(), [f"w{number:05}" for number in range(given.workspaces)]
    sources = (
        (Source("batch/v1", "Job"), seen.take_job),
        (Source("v1", "Pod"), seen.take_pod),
        (Source("kaito.sh/v1beta1", "Workspace"), seen.take_workspace),
    )
    watches = [asyncio.create_task(watching(kube, *source)) for source in sources]
    await asyncio.sleep(0.5)
    await create(kube, seen, names, given.rate)
    deadline = time.monotonic() + given.limit_s
    while len(seen.succeeded) < len(names) and time.monotonic() < deadline:
        done, _ = await asyncio.wait(watches, timeout=1)
        for task in done:
            task.result()
    await operator.at_rest(session)
    for task in watches:
        task.cancel()
    await asyncio.gather(*watches, return_exceptions=True)
    return seen


async def measure(layout: Layout, given: Any) -> dict[str, Any]:
    os.environ["KUBECONFIG"] = str(layout.kubeconfig)
    connection = wire.Wire(lambda: wire.log_in(kopf.OperatorSettings(), os.environ))
    kube, log = Kube(connection), layout.logs / "operator-bench.log"
    async with aiohttp.ClientSession() as session, AsyncExitStack() as operators:
        operator = Operator(log)
        operators.callback(operator.kill)
        await operator.ready(session)
        await operator.at_rest(session)
        empty = operator.usage()
        seen = await life(operator, kube, session, given)
        lived, requests = operator.usage(), await operator.requests(session)
        looks = await operator.looks(session)

        await asyncio.sleep(_IDLE_S)
        idle, later = operator.usage(), await operator.requests(session)
        stopped_s = operator.stop()

        operator = Operator(log.with_suffix(".2.log"))
        operators.callback(operator.kill)
        ready_s = await operator.ready(session)
        await operator.at_rest(session)
        restarted, again = operator.usage(), await operator.requests(session)
        operator.stop()
    await connection.close()
    jobs = [seen.job[n] - at for n, at in seen.created.items() if n in seen.job]
    told = [seen.succeeded[n] - at for n, at in seen.ended.items() if n in seen.succeeded]
    calls = {verb: count for verb, count in requests.items() if verb not in ("watch", "list")}
    return {
        "workspaces": given.workspaces,
        "per_second": given.rate,
        "succeeded": len(seen.succeeded),
        "job_p50_s": _share(jobs, 50),
        "job_p99_s": _share(jobs, 99),
        "succeeded_p50_s": _share(told, 50),
        "succeeded_p99_s": _share(told, 99),
        "writes_per_workspace": round(_writes(requests) / given.workspaces, 2),
        "events_per_workspace": round(requests.get("create", 0) / given.workspaces, 2),
        "looks_per_workspace": round(looks / given.workspaces, 2),
        "requests_by_verb": calls,
        "cpu_s": round(lived.cpu_s, 2),
        "cpu_start_s": round(empty.cpu_s, 2),
        "rss_empty_mib": round(empty.rss_mib, 1),
        "rss_mib": round(lived.rss_mib, 1),
        "peak_rss_mib": round(lived.peak_mib, 1),
        "idle_cpu_s": round(idle.cpu_s - lived.cpu_s, 2),
        "idle_requests_per_min": (_calls(later) - _calls(requests)) * 60 / _IDLE_S,
        "stop_s": round(stopped_s, 2),
        "restart_ready_s": round(ready_s, 2),
        "restart_cpu_s": round(restarted.cpu_s, 2),
        "restart_peak_rss_mib": round(restarted.peak_mib, 1),
        "restart_writes": _writes(again),
    }


def _writes(requests: Mapping[str, int]) -> int:
    return sum(requests.get(verb, 0) for verb in _WRITES)


def _calls(requests: Mapping[str, int]) -> int:
    """A watch is renewed every few minutes; it is not counted as a request."""
    return sum(count for verb, count in requests.items() if verb != "watch")


def _share(values: Sequence[float], percent: int) -> float | None:
    """The value below which so many lie; None of none."""
    if not values:
        return None
    return round(sorted(values)[min(len(values) - 1, len(values) * percent // 100)], 3)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/operator.py", description=__doc__)
    parser.add_argument("--workspaces", type=int, default=1000, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    parser.add_argument("--rate", type=float, default=20, help="creations a second")
    parser.add_argument("--limit-s", type=float, default=600, help="after the last creation")
    given = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    layout = default()
    with borrowed(layout, Options()) as pid:
        kubectl(layout, pid, "apply", "--server-side", "--force-conflicts", "-f", str(_CRD))
        kubectl(layout, pid, "wait", "--for=condition=Established", "crd/workspaces.kaito.sh")
        kubectl(layout, pid, "apply", "-f", "-", stdin=json.dumps(_NAMESPACE_BODY))
        simulated_pods.start(layout, pid)
        try:
            with entered(pid):
                numbers = asyncio.run(measure(layout, given))
        finally:
            simulated_pods.stop(layout, pid)
            kubectl(layout, pid, "delete", "namespace", _NAMESPACE, "--wait=false")
    if given.json:
        given.json.write_text(json.dumps(numbers, indent=1) + "\n")
    print(table(("what", "measured"), list(numbers.items())))
    return 0 if numbers["succeeded"] == given.workspaces else 1


if __name__ == "__main__":
    sys.exit(main())
