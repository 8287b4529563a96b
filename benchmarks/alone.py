"""Our operator without a peer: a whole life, a minute of rest, a restart with all that is there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

from benchmarks import ground
from benchmarks.contestants import TUNERY, Running, running
from benchmarks.lives import Load, connected, live
from cluster.layout import Layout

_WRITES = ("apply", "patch", "patch_status", "delete", "update")
"""Beside Events, which are the only objects that are created."""
_IDLE_S = 60
Figures = dict[str, Any]


def measure(layout: Layout, pid: int, load: Load) -> Figures:
    """All figures, by name."""
    with ground.laid(layout, pid, TUNERY):
        return asyncio.run(_measured(layout, load))


async def _measured(layout: Layout, load: Load) -> Figures:
    log = layout.logs / "operator-bench.log"
    async with connected(layout) as kube, aiohttp.ClientSession() as session:
        async with running(TUNERY, log, session) as operator:
            life = await live(operator, kube, load)
            rested = {**await _rest(operator), "stop_s": round(operator.stop(), 2)}
        async with running(TUNERY, log.with_suffix(".2.log"), session) as operator:
            restarted = await _restarted(operator)
    each = {
        "writes_per_workspace": round(_writes(life.requests) / load.workspaces, 2),
        "events_per_workspace": round(life.requests.get("create", 0) / load.workspaces, 2),
    }
    asked = {"workspaces": load.workspaces, "per_second": load.rate}
    return {**asked, **life.figures(), **each, **rested, **restarted}


async def _rest(operator: Running) -> Figures:
    before, earlier = operator.usage(), await operator.requests()
    await asyncio.sleep(_IDLE_S)
    after, later = operator.usage(), await operator.requests()
    return {
        "idle_cpu_s": round(after.cpu_s - before.cpu_s, 2),
        "idle_requests_per_min": (_calls(later) - _calls(earlier)) * 60 / _IDLE_S,
    }


async def _restarted(operator: Running) -> Figures:
    usage = operator.usage()
    return {
        "restart_ready_s": round(operator.ready_s, 2),
        "restart_cpu_s": round(usage.cpu_s, 2),
        "restart_peak_rss_mib": round(usage.peak_mib, 1),
        "restart_writes": _writes(await operator.requests()),
    }


def _writes(requests: Mapping[str, int]) -> int:
    return sum(requests.get(verb, 0) for verb in _WRITES)


def _calls(requests: Mapping[str, int]) -> int:
    """A watch is renewed every few minutes; it is not counted as a request."""
    return sum(count for verb, count in requests.items() if verb != "watch")
