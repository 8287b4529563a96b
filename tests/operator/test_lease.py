"""Of several holders at most one leads, and it stops before another may begin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rig.apiserver import ApiServer, Fault, running
from rig.operating import until

from kube import Kube
from lease import Lease, Times

QUICK = Times(holds_s=1, gives_up_s=0.6, renews_s=0.1)


class Holder:
    """One replica: how often its work began, and whether it goes on."""

    def __init__(self, api: ApiServer, name: str) -> None:
        self.wire = api.wire()
        self.lease = Lease(Kube(self.wire), "tunery-system", name, QUICK)
        self.works = False
        self.began = 0

    async def work(self) -> None:
        self.works = True
        self.began += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.works = False


@asynccontextmanager
async def holding(api: ApiServer, name: str) -> AsyncIterator[tuple[Holder, asyncio.Task[None]]]:
    holder = Holder(api, name)
    task = asyncio.create_task(holder.lease.lead(holder.work))
    try:
        yield holder, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await holder.wire.close()


def run(scenario: Callable[[ApiServer], Coroutine[Any, Any, None]]) -> None:
    async def with_server() -> None:
        async with running() as api:
            await scenario(api)

    asyncio.run(with_server())


def spec(api: ApiServer) -> Any:
    return api.of("leases")[0]["spec"]


def test_the_first_leads_and_gives_it_back_when_it_goes() -> None:
    async def scenario(api: ApiServer) -> None:
        async with holding(api, "a") as (a, task), holding(api, "b") as (b, _):
            await until(lambda: a.works or b.works)
            await asyncio.sleep(1.5)  # longer than it holds: it is renewed
            first, second = (a, b) if a.works else (b, a)
            assert (first.works, second.began) == (True, 0)
            assert first.lease.holds and not second.lease.holds
            if first is a:
                began = time.monotonic()
                task.cancel()
                await until(lambda: b.works)
                assert time.monotonic() - began < 0.9  # it did not wait for the lease to run out
                assert not a.works
                assert spec(api)["holderIdentity"] == "b"
                assert spec(api)["leaseTransitions"] == 2

    run(scenario)


def test_one_that_vanishes_is_followed_when_its_lease_has_run_out() -> None:
    async def scenario(api: ApiServer) -> None:
        # Held by somebody whose clock we do not believe.
        api.put(
            "leases",
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": "tunery-operator", "namespace": "tunery-system"},
                "spec": {
                    "holderIdentity": "gone",
                    "leaseDurationSeconds": 1,
                    "renewTime": "2001-01-01T00:00:00.000000Z",
                },
            },
        )
        began = time.monotonic()
        async with holding(api, "a") as (a, _):
            await until(lambda: a.works)
            assert 1 <= time.monotonic() - began < 3
            assert spec(api)["leaseTransitions"] == 1

    run(scenario)


def test_who_cannot_renew_stops_and_comes_back() -> None:
    async def scenario(api: ApiServer) -> None:
        async with holding(api, "a") as (a, _):
            await until(lambda: a.works)
            api.faults.append(Fault("PUT", "/leases/", status=500, times=8))
            await until(lambda: not a.works, limit_s=2)
            await until(lambda: a.works)
            assert a.began == 2

    run(scenario)


def test_a_moment_without_the_server_stops_nobody() -> None:
    async def scenario(api: ApiServer) -> None:
        async with holding(api, "a") as (a, _):
            await until(lambda: a.works)
            api.faults.append(Fault("PUT", "/leases/", status=503, times=2))
            await asyncio.sleep(1.2)
            assert (a.works, a.began) == (True, 1)

    run(scenario)


def test_whose_lease_was_taken_stops_at_once() -> None:
    async def scenario(api: ApiServer) -> None:
        async with holding(api, "a") as (a, _):
            await until(lambda: a.works)
            taken = api.of("leases")[0]
            api.put("leases", {**taken, "spec": {**taken["spec"], "holderIdentity": "b"}})
            await until(lambda: not a.works, limit_s=0.5)

    run(scenario)


def test_work_that_ends_by_a_bug_ends_the_lead() -> None:
    async def scenario(api: ApiServer) -> None:
        holder = Holder(api, "a")

        async def broken() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await holder.lease.lead(broken)
        assert spec(api)["holderIdentity"] == ""
        await holder.wire.close()

    run(scenario)
