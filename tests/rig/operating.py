"""The operator's engine on an API server in memory, and what it is fed with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from rig.apiserver import ApiServer

import presets
from engine import Engine
from jobs.installation import Installation
from settings import Process
from wire import Exchange

Object = dict[str, Any]
SKU = "Standard_NC24ads_A100_v4"
INSTALLATION = Installation(tuner_image="localhost/tunery/tuner:1")
KEY = ("default", "one")


def workspace(name: str = "one", namespace: str = "default", **tuning: Any) -> Object:
    """A tuning Workspace that has no problems."""
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": namespace},
        "resource": {"instanceType": SKU, "labelSelector": {"matchLabels": {"apps": "tuning"}}},
        "tuning": {
            "preset": {"name": "phi-3-mini-128k-instruct"},
            "method": "qlora",
            "input": {"urls": ["https://example.com/rows.parquet"]},
            "output": {"image": "registry.example.com/a/b:1", "imagePushSecret": "push"},
            **tuning,
        },
    }


def node(name: str = "n1") -> Object:
    """A GPU node that is ready for it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"node.kubernetes.io/instance-type": SKU, "apps": "tuning"},
        },
        "status": {
            "allocatable": {"nvidia.com/gpu": "1", "memory": "220Gi"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


@asynccontextmanager
async def operating(
    api: ApiServer,
    exchange: Callable[[Exchange], Exchange] = lambda wire: wire,
    process: Process = Process(metrics_port=0),  # noqa: B008  # frozen
) -> AsyncIterator[Engine]:
    """An engine that runs; `exchange` may put something between it and the server."""
    wire = api.wire()
    engine = Engine(exchange(wire), INSTALLATION, process, presets.load())
    task = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await wire.close()


async def until(true: Callable[[], Any], limit_s: float = 15) -> None:
    """Wait for what only looking tells."""
    async with asyncio.timeout(limit_s):
        while not true():
            await asyncio.sleep(0.01)


async def settled(api: ApiServer, engine: Engine, quiet_s: float = 0.3) -> None:
    """Nothing is queued, nobody is at work, and nothing was asked for a moment."""
    asked = -1
    while asked != len(api.log) or len(engine.queue) or engine.queue.longest_busy_s():
        asked = len(api.log)
        await asyncio.sleep(quiet_s)
