"""The loop as a whole on an API server that fails on order: what is written, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rig.apiserver import ApiServer, Fault, running
from rig.operating import node, operating, settled, until, workspace

from caches import Caches
from kube import Kube
from wire import Exchange, Request


def objects(api: ApiServer) -> dict[tuple[str, str, str], Any]:
    """All that was made, without what is different each time."""
    return {
        key: _stripped(body)
        for key, body in api.objects.items()
        if key[0] not in ("events", "leases")
    }


def _stripped(value: Any) -> Any:
    volatile = ("uid", "resourceVersion", "creationTimestamp", "lastTransitionTime", "startedAt")
    if isinstance(value, dict):
        return {k: _stripped(v) for k, v in value.items() if k not in volatile}
    return [_stripped(v) for v in value] if isinstance(value, list) else value


def status(api: ApiServer) -> Any:
    return api.objects["workspaces", "default", "one"].get("status") or {}


def test_a_workspace_becomes_its_objects_and_a_restart_writes_nothing() -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("nodes", node())
            api.put("workspaces", workspace())
            async with operating(api) as engine:
                await until(lambda: status(api))
                await settled(api, engine)
                made = {key[0] for key in api.objects}
                assert {"jobs", "configmaps", "controllerrevisions"} <= made
                assert engine.unready() == engine.unhealthy() == []
                assert len(api.writes("(?!/events)")) <= 8
            api.log.clear()
            async with operating(api) as engine:
                await until(lambda: not engine.unready())
                await settled(api, engine)
                assert api.writes() == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "slow", ["/jobs", "/pods", "/nodes", "/configmaps", "/controllerrevisions"]
)
def test_nothing_is_written_before_everything_is_listed(slow: str) -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("nodes", node())
            api.put("workspaces", workspace())
            api.faults.append(Fault("GET", slow, status=500, times=2))
            async with operating(api) as engine:
                await until(lambda: len(api.log) >= 9)
                await asyncio.sleep(0.2)
                assert engine.unready() != []
                assert api.writes() == []
                await until(lambda: api.of("jobs"))

    asyncio.run(scenario())


def crashing(at: int, *, after: bool) -> tuple[Callable[[Exchange], Exchange], asyncio.Event]:
    """An exchange whose n-th write never returns, before or after the server has seen it."""
    crashed, count = asyncio.Event(), 0

    def put_between(wire: Exchange) -> Exchange:
        @asynccontextmanager
        async def exchange(request: Request) -> AsyncIterator[Any]:
            nonlocal count
            count += request.method != "GET"
            here = request.method != "GET" and count >= at
            if here and (count > at or not after):
                crashed.set()
                await asyncio.Event().wait()
            async with wire(request) as response:
                if here:
                    await response.read()
                    crashed.set()
                    await asyncio.Event().wait()
                yield response

        return exchange

    return put_between, crashed


async def _whole_life(api: ApiServer, crash_at: int = 0, *, after: bool = False) -> bool:
    """One Workspace from its creation, with a crash at a write; whether that write was reached."""
    api.put("nodes", node())
    api.put("workspaces", workspace())
    reached = False
    if crash_at:
        between, crashed = crashing(crash_at, after=after)
        async with operating(api, between) as engine:
            end = asyncio.create_task(settled(api, engine))
            wait = asyncio.create_task(crashed.wait())
            await asyncio.wait({end, wait}, return_when=asyncio.FIRST_COMPLETED)
            reached = crashed.is_set()
            end.cancel()
            wait.cancel()
    async with operating(api) as engine:
        await until(lambda: not engine.unready())
        await settled(api, engine)
    return reached


def test_a_crash_between_any_two_writes_ends_in_the_same_objects() -> None:
    async def scenario() -> None:
        async with running() as api:
            await _whole_life(api)
            wanted, writes = objects(api), len(api.writes())
        assert writes >= 5
        for at in range(1, writes + 1):
            for after in (False, True):
                async with running() as api:
                    assert await _whole_life(api, at, after=after), (at, after)
                    assert objects(api) == wanted, (at, after)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "more"),
    [
        (409, {}),
        (429, {"headers": {"Retry-After": "1"}}),
        (500, {}),
        (503, {}),
        (0, {"lost": True}),
    ],
)
@pytest.mark.parametrize("path", ["/configmaps/", "/jobs/", "/workspaces/one$", "/status"])
def test_what_a_moment_later_works_is_done_a_moment_later(
    code: int, more: dict[str, Any], path: str
) -> None:
    async def scenario() -> None:
        async with running() as api:
            await _whole_life(api)
            wanted = objects(api)
        async with running() as api:
            api.put("nodes", node())
            api.put("workspaces", workspace())
            api.faults.append(Fault("PATCH", path, status=code, **more))
            async with operating(api) as engine:
                await until(lambda: status(api) and api.of("jobs"))
                await settled(api, engine)
                assert objects(api) == wanted

    asyncio.run(scenario())


def _message(api: ApiServer) -> str:
    return " ".join(c.get("message", "") for c in status(api).get("conditions", ()))


@pytest.mark.parametrize("code", [403, 422])
def test_what_stays_refused_is_told_and_harms_nobody_else(code: int) -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("nodes", node())
            api.put("workspaces", workspace())
            cause = {"field": "spec.template", "message": "field is immutable"}
            body = {"details": {"causes": [cause]}}
            api.faults.append(Fault("PATCH", "/jobs/one", status=code, body=body, times=2))
            async with operating(api) as engine:
                await until(lambda: "spec.template: field is immutable" in _message(api))
                api.put("workspaces", workspace("two"))
                await until(lambda: api.of("jobs"))
                assert [job["metadata"]["name"] for job in api.of("jobs")] == ["two"]
                # And when it works again nothing is left of the complaint.
                await until(lambda: len(api.of("jobs")) == 2)
                await settled(api, engine)
                assert "immutable" not in _message(api)

    asyncio.run(scenario())


def test_a_workspace_that_goes_leaves_nothing_behind_in_memory() -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("workspaces", workspace())
            async with operating(api) as engine:
                await until(lambda: status(api))
                await settled(api, engine)
                api.remove("workspaces", "default", "one")
                await settled(api, engine)
                assert engine.caches.workspaces.items == {}
                writes = len(api.writes())
                api.put("nodes", node())
                await settled(api, engine)
                assert len(api.writes()) == writes

    asyncio.run(scenario())


def test_a_node_wakes_those_who_wait_for_one() -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("workspaces", workspace())
            async with operating(api) as engine:
                await until(lambda: status(api))
                await settled(api, engine)
                assert api.of("jobs") == []
                api.put("nodes", node())
                await until(lambda: api.of("jobs"))

    asyncio.run(scenario())


def test_a_config_map_wakes_those_who_name_it_and_no_others() -> None:
    text = "training_config:\n  TrainingArguments:\n    num_train_epochs: {}\n"

    def config(epochs: int) -> dict[str, Any]:
        data = {"training_config.yaml": text.format(epochs)}
        return {"metadata": {"name": "c", "namespace": "default"}, "data": data}

    async def scenario() -> None:
        async with running() as api:
            api.put("nodes", node())
            api.put("workspaces", workspace(config="c"))
            api.put("workspaces", workspace("two"))
            async with operating(api) as engine:
                await until(lambda: api.of("jobs"))
                await settled(api, engine)
                assert [job["metadata"]["name"] for job in api.of("jobs")] == ["two"]
                api.put("configmaps", config(1))
                await until(lambda: len(api.of("jobs")) == 2)
                await settled(api, engine)
                api.log.clear()
                api.put("configmaps", config(2))
                await until(lambda: api.writes("/jobs/one"))
                await settled(api, engine)
                assert api.writes("two") == []

    asyncio.run(scenario())


def test_a_job_of_somebody_else_is_told_and_never_touched() -> None:
    theirs = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"mine": True},
    }

    async def scenario() -> None:
        async with running() as api:
            api.put("nodes", node())
            before = api.put("jobs", theirs)
            api.put("workspaces", workspace())
            async with operating(api) as engine:
                await until(lambda: "belongs to somebody else" in _message(api))
                await settled(api, engine)
                assert api.of("jobs") == [before]
                assert api.writes("/jobs/") == []
                api.remove("jobs", "default", "one")
                await until(lambda: api.of("jobs"))
                assert "template" in api.of("jobs")[0]["spec"]

    asyncio.run(scenario())


def test_our_job_without_its_label_is_labelled_again() -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("nodes", node())
            api.put("workspaces", workspace())
            async with operating(api) as engine:
                await until(lambda: api.of("jobs"))
                await settled(api, engine)
                job = api.of("jobs")[0]
                api.put("jobs", {**job, "metadata": {**job["metadata"], "labels": {}}})
                await until(lambda: api.of("jobs")[0]["metadata"].get("labels"))
                await settled(api, engine)
                assert api.of("jobs")[0]["metadata"]["uid"] == job["metadata"]["uid"]
                assert engine.caches.jobs.items

    asyncio.run(scenario())


def test_a_node_concerns_those_that_run_on_it_and_no_others() -> None:
    def pod(name: str, on: str, phase: str) -> dict[str, Any]:
        labels = {"kaito.sh/workspace": name}
        metadata = {"name": f"{name}-x", "namespace": "default", "labels": labels}
        return {"metadata": metadata, "spec": {"nodeName": on}, "status": {"phase": phase}}

    async def scenario() -> None:
        async with running() as api:
            wire, woken = api.wire(), []
            caches = Caches(Kube(wire), woken.append)
            caches.nodes.put(api.put("nodes", node("n1")))
            for name, on, phase in (
                ("a", "n1", "Running"),
                ("b", "n2", "Running"),
                ("c", "n1", "Succeeded"),
                ("d", "n1", "Pending"),
            ):
                caches.pods.put(api.put("pods", pod(name, on, phase)))
            caches.waits_for_nodes(("default", "w"), True)
            woken.clear()
            sick = node("n1")
            sick["status"]["conditions"][0]["status"] = "False"
            caches.nodes.put(api.put("nodes", sick))
            assert sorted(name for _, name in woken) == ["a", "d", "w"]
            await wire.close()

    asyncio.run(scenario())
