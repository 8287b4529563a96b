"""The operator's process: `python operator/main.py`.

kopf is the shell: it starts and stops us and takes signals. It reconciles nothing: its daemons and
indexes cost several times the CPU and memory of one loop, and start in quadratic time
(docs/architecture.md). That loop is engine.py; admission is webhook.py, run by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from typing import Any

import kopf

import presets
import settings
import wire
from engine import Engine
from gathering import Gathering

log = logging.getLogger("tunery")


@kopf.on.login()
def login(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo:
    """For kopf's own look at the cluster; the engine has a connection of its own."""
    return wire.log_in(settings, os.environ)


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Connect, and run the engine beside kopf."""
    quiet(settings)
    collect_seldom()
    installation, process = memo.read
    logging.getLogger("tunery").setLevel(process.log_level)
    memo.wire = wire.Wire(lambda: wire.log_in(settings, os.environ))
    begin = memo.gathering.begin
    memo.engine = Engine(memo.wire, installation, process, presets.load(), begin)
    memo.running = asyncio.create_task(memo.engine.run(), name="tunery engine")
    memo.running.add_done_callback(ended)


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """Every write can be cut: the next start goes on from what is there."""
    if "running" in memo:
        memo.running.remove_done_callback(ended)
        memo.running.cancel()
        await asyncio.gather(memo.running, return_exceptions=True)
        await memo.wire.close()
    log.info("stopped")


def quiet(settings: kopf.OperatorSettings) -> None:
    """kopf watches nothing and writes nothing by itself."""
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.networking.request_timeout = 30


def collect_seldom() -> None:
    """What arrives is JSON, which has no cycles: looking for some after each 700 objects doubles
    the time it takes to read a page of a list (62 ms, and 29 ms with this)."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def ended(task: asyncio.Task[None]) -> None:
    """The engine ends only by a bug; a process without it must not go on."""
    if not task.cancelled():
        log.critical("the loop has ended", exc_info=task.exception())
    signal.raise_signal(signal.SIGTERM)


def main() -> None:
    """As `kopf run --standalone --all-namespaces` does, in a loop of our own.

    Settings that are wrong end it before anything has begun, with every problem on a line.
    """
    kopf.configure()
    try:
        read = settings.read(os.environ)
    except settings.SettingsError as error:
        sys.exit(f"settings: {error}")
    gathering = Gathering()
    with contextlib.closing(asyncio.SelectorEventLoop(gathering)) as loop:
        memo = kopf.Memo(gathering=gathering, read=read)
        kopf.run(loop=loop, memo=memo, standalone=True, clusterwide=True)


if __name__ == "__main__":
    main()
