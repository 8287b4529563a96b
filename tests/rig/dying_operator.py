"""A program: the engine, without its shell, that kills itself right after its first write.

Started again and again it does all its work, one write in each life; see test_on_a_cluster.py. What
counts as a write: everything but Events, which are news, not state.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import kopf

import presets
import settings
from engine import Engine
from wire import Exchange, Request, Wire, log_in


def dying(wire: Exchange) -> Exchange:
    @asynccontextmanager
    async def exchange(request: Request) -> AsyncIterator[Any]:
        async with wire(request) as response:
            if request.method != "GET" and "/events" not in request.path:
                await response.read()
                os.kill(os.getpid(), signal.SIGKILL)
            yield response

    return exchange


async def main() -> None:
    wire = Wire(lambda: log_in(kopf.OperatorSettings(), os.environ))
    installation, process = settings.read(os.environ)
    await Engine(dying(wire), installation, process, presets.load()).run()


if __name__ == "__main__":
    asyncio.run(main())
