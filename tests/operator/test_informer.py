"""A dictionary that stays equal to the cluster, through gaps, cuts and forgotten versions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from rig.apiserver import ApiServer, Fault, running

from informer import Informer
from kube import Kube, Source

Object = dict[str, Any]
NODES = Source("v1", "Node")


def node(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}}


def labels(body: Any) -> Any:
    return body["metadata"]["labels"]


class Told:
    """What the informer told: (name, before, after)."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Any, Any]] = []

    def __call__(self, name: tuple[str, str], before: Any, after: Any) -> None:
        self.all.append((name[1], before, after))

    def take(self) -> list[tuple[str, Any, Any]]:
        taken, self.all = self.all, []
        return taken


@asynccontextmanager
async def informing(
    api: ApiServer, source: Source = NODES, silence_s: float = 90, **more: Any
) -> AsyncIterator[tuple[Informer[Any], Told]]:
    wire, told = api.wire(), Told()
    informer = Informer(
        Kube(wire, watch_silence_s=silence_s), source, more.pop("slim", labels), told, **more
    )
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.wait_for(informer.synced.wait(), 10)
        yield informer, told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await wire.close()


async def until(true: Callable[[], bool], limit_s: float = 10) -> None:
    async with asyncio.timeout(limit_s):
        while not true():
            await asyncio.sleep(0.01)


def test_it_lists_in_pages_and_then_hears_of_every_change() -> None:
    async def scenario() -> None:
        async with running() as api:
            for number in range(1201):
                api.put("nodes", node(f"n{number:04}", a="1"))
            async with informing(api) as (informer, told):
                assert len(informer.items) == len(told.take()) == 1201
                lists = [a.path for a in api.log if "watch" not in a.path]
                assert ["continue" in path for path in lists] == [False, *4 * [True]]
                await until(lambda: api.watching == 1)
                api.put("nodes", node("n0000", a="2"))
                api.put("nodes", node("new", a="1"))
                api.remove("nodes", "", "n0001")
                await until(lambda: len(told.all) == 3)
                assert told.take() == [
                    ("n0000", {"a": "1"}, {"a": "2"}),
                    ("new", None, {"a": "1"}),
                    ("n0001", {"a": "1"}, None),
                ]

    asyncio.run(scenario())


def test_what_nobody_reads_wakes_nobody() -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("nodes", node("n", a="1"))
            async with informing(api) as (_, told):
                await until(lambda: api.watching == 1)
                told.take()
                api.put("nodes", {**node("n", a="1"), "status": {"heartbeat": 1}})
                api.put("nodes", node("n", a="2"))
                await until(lambda: bool(told.all))
                assert told.take() == [("n", {"a": "1"}, {"a": "2"})]

    asyncio.run(scenario())


def test_deletions_in_a_gap_are_told_when_the_version_was_forgotten() -> None:
    async def scenario() -> None:
        async with running() as api:
            for name in ("kept", "changed", "gone"):
                api.put("nodes", node(name, a="1"))
            async with informing(api) as (informer, told):
                await until(lambda: api.watching == 1)
                told.take()
                api.faults.append(Fault("GET", "watch=1", status=503))
                api.cut()
                await until(lambda: api.watching == 0)
                api.remove("nodes", "", "gone")
                api.put("nodes", node("changed", a="2"))
                api.put("nodes", node("new", a="1"))
                api.forget()
                await until(lambda: len(told.all) == 3)
                assert sorted(told.take(), key=lambda t: t[0]) == [
                    ("changed", {"a": "1"}, {"a": "2"}),
                    ("gone", {"a": "1"}, None),
                    ("new", None, {"a": "1"}),
                ]
                assert {name for _, name in informer.items} == {"kept", "changed", "new"}

    asyncio.run(scenario())


def test_a_cut_watch_goes_on_where_it_was_without_a_new_list() -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("nodes", node("n", a="1"))
            async with informing(api) as (_, told):
                await until(lambda: api.watching == 1)
                told.take()
                api.cut()
                await until(lambda: api.watching == 0)
                api.remove("nodes", "", "n")
                await until(lambda: told.all == [("n", {"a": "1"}, None)])
                assert len([a for a in api.log if "watch" not in a.path]) == 1

    asyncio.run(scenario())


def test_a_watch_that_hangs_is_given_up() -> None:
    async def scenario() -> None:
        async with running() as api:
            api.faults.append(Fault("GET", "watch=1", silent=True))
            async with informing(api, silence_s=0.2) as (_, told):
                api.put("nodes", node("n", a="1"))
                await until(lambda: bool(told.all))

    asyncio.run(scenario())


def test_a_list_that_fails_is_tried_again_and_nobody_believes_it_meanwhile() -> None:
    async def scenario() -> None:
        async with running() as api:
            for number in range(300):
                api.put("nodes", node(f"n{number}", a="1"))
            api.faults.append(Fault("GET", "continue", status=410))
            api.faults.append(Fault("GET", "continue", status=500))
            async with informing(api) as (informer, _):
                assert len(informer.items) == 300
                assert len([a for a in api.log if "watch" not in a.path]) == 6

    asyncio.run(scenario())


def test_our_own_write_is_known_at_once_and_an_older_event_does_not_undo_it() -> None:
    async def scenario() -> None:
        async with running() as api:
            first = api.put("nodes", node("n", a="1"))
            async with informing(api) as (informer, told):
                await until(lambda: api.watching == 1)
                told.take()
                newer = {**first, "metadata": {**first["metadata"], "labels": {"a": "2"}}}
                newer["metadata"]["resourceVersion"] = "1000"
                informer.answered(newer)
                assert informer.items["", "n"] == {"a": "2"}
                # An event from before it, as a slow watch would still deliver it.
                api.put("nodes", node("n", a="0"))
                api.put("nodes", node("other", a="1"))
                await until(lambda: len(told.all) == 2)
                assert informer.items["", "n"] == {"a": "2"}
                # Nor does a list that was made before it.
                api.remove("nodes", "", "n")
                api.forget()
                await until(lambda: len([a for a in api.log if "watch" not in a.path]) == 2)
                await until(lambda: api.watching == 1)
                assert informer.items["", "n"] == {"a": "2"}

    asyncio.run(scenario())


def test_what_we_wrote_ourselves_is_not_read_again() -> None:
    async def scenario() -> None:
        read: list[str] = []

        def slim(body: Any) -> Any:
            read.append(body["metadata"]["labels"]["a"])
            return labels(body)

        async with running() as api:
            first = api.put("nodes", node("n", a="1"))
            async with informing(api, slim=slim) as (informer, told):
                await until(lambda: api.watching == 1)
                told.take()
                ours = {**first["metadata"], "labels": {"a": "2"}}
                ours["resourceVersion"] = str(int(ours["resourceVersion"]) + 1)
                informer.answered({"metadata": ours})
                again = api.put("nodes", node("n", a="2"))
                assert again["metadata"]["resourceVersion"] == ours["resourceVersion"]
                api.put("nodes", node("n", a="3"))
                await until(lambda: informer.items["", "n"] == {"a": "3"})
                assert read == ["1", "2", "3"]
                assert told.take() == [
                    ("n", {"a": "1"}, {"a": "2"}),
                    ("n", {"a": "2"}, {"a": "3"}),
                ]
                # A deletion is told, even if a write of ours was answered with its version.
                last = {**ours, "resourceVersion": str(int(ours["resourceVersion"]) + 2)}
                informer.answered({"metadata": last})
                api.remove("nodes", "", "n")
                await until(lambda: not informer.items)

    asyncio.run(scenario())


def test_an_answer_that_comes_after_the_object_is_gone_does_not_bring_it_back() -> None:
    async def scenario() -> None:
        async with running() as api:
            first = api.put("nodes", node("n", a="1"))
            async with informing(api) as (informer, told):
                await until(lambda: api.watching == 1)
                going = api.put("nodes", node("n", a="2"))
                api.remove("nodes", "", "n")
                await until(lambda: not informer.items)
                told.take()
                # As when the watch is faster than the response to our own delete.
                informer.answered(going)
                informer.answered(first)
                assert (informer.items, told.all) == ({}, [])

    asyncio.run(scenario())


def test_a_server_that_forgets_at_once_is_not_asked_for_lists_all_the_time() -> None:
    async def scenario() -> None:
        async with running() as api:
            api.faults.append(Fault("GET", "watch=1", status=410, times=1000))
            async with informing(api):
                await asyncio.sleep(3)
                assert len([a for a in api.log if "watch" not in a.path]) <= 4

    asyncio.run(scenario())


def test_what_the_slim_function_drops_is_not_there_and_leaving_is_told() -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("nodes", node("n", keep="1"))
            api.put("nodes", node("other"))
            slim = lambda body: labels(body) or None  # noqa: E731
            async with informing(api, slim=slim) as (informer, told):
                assert [name for _, name in informer.items] == ["n"]
                await until(lambda: api.watching == 1)
                told.take()
                api.put("nodes", node("n"))
                await until(lambda: told.all == [("n", {"keep": "1"}, None)])

    asyncio.run(scenario())


def test_the_server_chooses_by_selector_and_no_more_than_asked_for_is_kept() -> None:
    async def scenario() -> None:
        async with running() as api:
            for number in range(9):
                api.put("nodes", node(f"n{number}", mine=str(number)))
                api.put("nodes", node(f"x{number}"))
            source = Source("v1", "Node", labels="mine")
            async with informing(api, source, most=4) as (informer, told):
                assert [name for _, name in informer.items] == ["n5", "n6", "n7", "n8"]
                assert ("n0", {"mine": "0"}, None) in told.all

    asyncio.run(scenario())
