"""The loop's promises: much news is one piece of work, the first waits for nobody, none is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Coroutine
from typing import Any

from gathering import Gathering

MOMENT_S = 0.2


def run(work: Coroutine[Any, Any, Any], begun: bool = True) -> Any:
    gathering = Gathering(MOMENT_S)
    with contextlib.closing(asyncio.SelectorEventLoop(gathering)) as loop:
        if begun:
            gathering.begin()
        return loop.run_until_complete(work)


async def news(times: list[float], count: int, every_s: float) -> None:
    """Somebody else's process tells us so many things; when each was heard."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    heard = asyncio.Event()

    def take() -> None:
        times.extend([time.monotonic()] * len(ours.recv(100)))
        if len(times) == count:
            heard.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(ours, take)
    script = f"for n in $(seq {count}); do printf x; sleep {every_s}; done"
    teller = await asyncio.create_subprocess_exec("sh", "-c", script, stdout=theirs.fileno())
    await asyncio.wait_for(heard.wait(), 20)
    await teller.wait()
    loop.remove_reader(ours)
    ours.close()
    theirs.close()


def test_all_that_arrives_within_a_moment_is_one_wake_up() -> None:
    times: list[float] = []
    run(news(times, 30, 0.02))
    assert len(times) == 30, "none is lost"
    assert len(set(times)) <= 8, "0.6 s of news in moments of 0.2 s, and the start"


def test_news_after_a_quiet_moment_is_heard_at_once() -> None:
    async def quiet() -> float:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        told = loop.run_in_executor(None, tell, theirs)
        await loop.sock_recv(ours, 1)
        heard_at = time.monotonic()
        told_at = await told
        ours.close()
        theirs.close()
        return heard_at - told_at

    def tell(theirs: socket.socket) -> float:
        time.sleep(2 * MOMENT_S)
        told_at = time.monotonic()
        theirs.send(b"x")
        return told_at

    assert run(quiet()) < MOMENT_S / 2


def test_work_that_is_there_is_not_held_up() -> None:
    async def busy() -> float:
        began = time.monotonic()
        for _ in range(1000):
            await asyncio.sleep(0)
        return time.monotonic() - began

    assert run(busy()) < MOMENT_S


def test_a_signal_is_taken() -> None:
    async def waits() -> None:
        loop, taken = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, taken.set)
        loop.call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(taken.wait(), 5)
        loop.remove_signal_handler(signal.SIGUSR1)

    run(waits())


def test_nothing_is_held_up_before_it_begins() -> None:
    times: list[float] = []
    run(news(times, 30, 0.02), begun=False)
    assert len(set(times)) >= 20
