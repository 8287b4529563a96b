"""The queue's promises: never the same key twice at once, none lost, everybody gets a turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from workqueue import WorkQueue

KEYS = st.sampled_from("abcd")
STEPS = st.lists(st.tuples(st.sampled_from(["add", "get", "done", "fail"]), KEYS), max_size=60)


@given(STEPS)
def test_no_key_is_lost_and_none_is_at_work_twice(steps: Sequence[tuple[str, str]]) -> None:
    asyncio.run(_replay(steps))


async def _replay(steps: Sequence[tuple[str, str]]) -> None:
    queue: WorkQueue[str] = WorkQueue(lambda key: key in "ab", rest_s=0)
    busy: set[str] = set()
    owed: set[str] = set()
    """Added, and not begun since."""
    for what, key in steps:
        if what == "add":
            queue.add(key)
            owed.add(key)
        elif what == "get" and owed - busy:
            got = await queue.get()
            assert got not in busy
            busy.add(got)
            owed.discard(got)
        elif what == "done" and key in busy:
            busy.discard(key)
            queue.done(key)
            await _rested()
        elif what == "fail" and key in busy:
            queue.failed(key)
        assert len(queue) == len(owed)
    for key in busy:
        queue.done(key)
    await _rested()
    assert {await queue.get() for _ in range(len(queue))} == owed
    queue.stop()


async def _rested() -> None:
    """A rest of no length is over in the next turn of the loop."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def _order(queue: WorkQueue[str], keys: Sequence[str]) -> str:
    for key in keys:
        queue.add(key)
    return "".join([await queue.get() for _ in keys])


def test_what_runs_goes_first_and_every_other_place_is_a_new_ones() -> None:
    running = WorkQueue[str](str.isupper)
    assert asyncio.run(_order(running, "abcABCDEF")) == "AaBbCcDEF"


def test_a_waiting_worker_is_woken() -> None:
    async def scenario() -> str:
        queue: WorkQueue[str] = WorkQueue()
        worker = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        return await worker

    assert asyncio.run(scenario()) == "a"


def test_a_cancelled_worker_takes_no_key_with_it() -> None:
    async def scenario() -> str:
        queue: WorkQueue[str] = WorkQueue()
        worker = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        return await asyncio.wait_for(queue.get(), 1)

    assert asyncio.run(scenario()) == "a"


def test_failures_wait_longer_each_time_but_never_more_than_a_minute() -> None:
    async def scenario() -> list[float]:
        queue: WorkQueue[str] = WorkQueue()
        delays = [queue.failed("a") for _ in range(9)]
        assert queue.failed("b", at_least_s=17) == 17
        queue.went_well("a")
        delays.append(queue.failed("a"))
        queue.stop()
        return delays

    assert asyncio.run(scenario()) == [1, 2, 4, 8, 16, 32, 60, 60, 60, 1]


def test_only_the_last_clock_of_a_key_rings() -> None:
    async def scenario() -> float:
        queue: WorkQueue[str] = WorkQueue()
        began = time.monotonic()
        queue.later("a", 0.01)
        queue.later("a", 0.2)
        assert await queue.get() == "a"
        queue.done("a")
        queue.later("a", 0.01)
        queue.forget("a")
        await asyncio.sleep(0.05)
        assert len(queue) == 0
        return time.monotonic() - began

    assert asyncio.run(scenario()) >= 0.2


def test_changes_within_a_moment_are_one_look() -> None:
    async def scenario() -> float:
        queue: WorkQueue[str] = WorkQueue(rest_s=0.2)
        queue.add("a")
        await queue.get()
        began = time.monotonic()
        queue.done("a")
        for _ in range(5):
            queue.add("a")
            await asyncio.sleep(0.01)
        assert await queue.get() == "a"
        taken_s = time.monotonic() - began
        queue.done("a")
        await asyncio.sleep(0.3)
        assert len(queue) == 0
        queue.add("a")
        assert await asyncio.wait_for(queue.get(), 0.1) == "a"
        return taken_s

    assert 0.19 < asyncio.run(scenario()) < 1


def test_it_tells_how_long_the_slowest_has_been_at_work() -> None:
    async def scenario() -> float:
        queue: WorkQueue[str] = WorkQueue()
        assert queue.longest_busy_s() == 0
        queue.add("a")
        await queue.get()
        await asyncio.sleep(0.05)
        return queue.longest_busy_s()

    assert asyncio.run(scenario()) >= 0.05
