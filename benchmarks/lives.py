"""N Workspaces from their creation to Succeeded, as a user would see them, and what that took.

Between the contestants' processes (contestants.py) and those who say what is measured (alone.py,
rounds.py). Latencies come from watches of this process, whoever writes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf

import wire
from benchmarks import simulated_pods
from benchmarks.contestants import Running, Usage
from cluster.layout import Layout
from kube import Kube, Source

NAMESPACE = "bench"
_READS = frozenset({"list", "watch", "get", "GET"})
Take = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a contestant."""

    workspaces: int
    rate: float
    """Creations a second."""
    limit_s: float
    """After the last creation."""


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


@dataclass(frozen=True, slots=True)
class Life:
    """All that a contestant did, from its start until all was done and it rested."""

    load: Load
    seen: Seen
    empty: Usage
    """At rest, before the first creation."""
    lived: Usage
    requests: Mapping[str, int]
    looks: int

    def figures(self) -> dict[str, Any]:
        """As they are told."""
        count, seen = self.load.workspaces, self.seen
        jobs = [seen.job[n] - at for n, at in seen.created.items() if n in seen.job]
        told = [seen.succeeded[n] - at for n, at in seen.ended.items() if n in seen.succeeded]
        asked = {verb: n for verb, n in self.requests.items() if verb not in _READS}
        return {
            "succeeded": len(seen.succeeded),
            "job_p50_s": _share(jobs, 50),
            "job_p99_s": _share(jobs, 99),
            "succeeded_p50_s": _share(told, 50),
            "succeeded_p99_s": _share(told, 99),
            "requests_per_workspace": round(sum(asked.values()) / count, 2) if asked else None,
            "looks_per_workspace": round(self.looks / count, 2),
            "requests_by_verb": asked,
            "cpu_s": round(self.lived.cpu_s, 2),
            "cpu_start_s": round(self.empty.cpu_s, 2),
            "rss_empty_mib": round(self.empty.rss_mib, 1),
            "rss_mib": round(self.lived.rss_mib, 1),
            "peak_rss_mib": round(self.lived.peak_mib, 1),
        }


async def live(operator: Running, kube: Kube, load: Load) -> Life:
    """From the first creation until the contestant is at rest again."""
    seen, empty = Seen(), operator.usage()
    async with _watched(kube, seen) as watches:
        names = [f"w{number:05}" for number in range(load.workspaces)]
        await _create(kube, seen, names, load.rate)
        deadline = time.monotonic() + load.limit_s
        while len(seen.succeeded) < len(names) and time.monotonic() < deadline:
            done, _ = await asyncio.wait(watches, timeout=1)
            for task in done:
                task.result()
        await operator.at_rest()
    return Life(
        load, seen, empty, operator.usage(), await operator.requests(), await operator.looks()
    )


@asynccontextmanager
async def connected(layout: Layout) -> AsyncIterator[Kube]:
    """To the cluster, whose network this thread has entered; contestants find it by KUBECONFIG."""
    os.environ["KUBECONFIG"] = str(layout.kubeconfig)
    connection = wire.Wire(lambda: wire.log_in(kopf.OperatorSettings(), os.environ))
    try:
        yield Kube(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def _watched(kube: Kube, seen: Seen) -> AsyncIterator[list[asyncio.Task[None]]]:
    sources = (
        (Source("batch/v1", "Job"), seen.take_job),
        (Source("v1", "Pod"), seen.take_pod),
        (Source("kaito.sh/v1beta1", "Workspace"), seen.take_workspace),
    )
    watches = [asyncio.create_task(_watch(kube, *source)) for source in sources]
    try:
        await asyncio.sleep(0.5)
        yield watches
    finally:
        for task in watches:
            task.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


async def _watch(kube: Kube, source: Source, take: Take) -> None:
    version = (await kube.page(source)).version
    while True:
        async for event in kube.watch(source, version, 3000):
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] in ("ADDED", "MODIFIED"):
                take(event["object"])


async def _create(kube: Kube, seen: Seen, names: Sequence[str], rate: float) -> None:
    """At this rate, however long each takes."""

    async def one(name: str) -> None:
        await kube.create(_workspace(name))
        seen.created[name] = time.monotonic()

    began = time.monotonic()
    async with asyncio.TaskGroup() as creations:
        for number, name in enumerate(names):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            creations.create_task(one(name))


def _workspace(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": NAMESPACE},
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


def _share(values: Sequence[float], percent: int) -> float | None:
    """The value below which so many lie; None of none."""
    if not values:
        return None
    return round(sorted(values)[min(len(values) - 1, len(values) * percent // 100)], 3)
