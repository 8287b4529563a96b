"""What the operator says of itself: numbers, health, Events."""

from __future__ import annotations

import asyncio
import http.client
import socket
import time
from contextlib import closing
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rig.apiserver import Fault, running
from rig.operating import INSTALLATION, node, operating, settled, until, workspace

import health
from engine import Engine
from informer import Informer
from jobs.decision import Event
from journal import Journal
from kube import Kube, Source
from meters import Meters
from settings import Process


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def body(name: str, **status: Any) -> dict[str, Any]:
    return {**workspace(name), "status": status}


def test_numbers_are_prometheus_text() -> None:
    meters = Meters()
    meters.look_at(
        lambda: [
            body("a", state="Running", progress={"step": 3, "of": 9}),
            body("b", state="Succeeded", progress={"step": 9, "of": 9}),
            body("c"),
            {**body("d"), "inference": {}},
        ],
        lambda: 5,
        lambda: True,
    )
    meters.reconciled(0.02)
    meters.failed("conflict")
    meters.requested("apply", 201)
    meters.requested("apply", 201)
    meters.status_changed({}, {"progress": {"gpuSeconds": 10}})
    meters.status_changed({"progress": {"gpuSeconds": 10}}, {"progress": {"gpuSeconds": 25}})
    meters.status_changed({"progress": {"gpuSeconds": 25}}, {})
    found = samples(meters.text().decode())
    assert found["tunery_workspaces", ("tuning", "Running")] == 1
    assert found["tunery_workspaces", ("tuning", "Pending")] == 1
    assert found["tunery_workspaces", ("inference", "Pending")] == 1
    assert found["tunery_workspace_step", ("default", "a")] == 3
    assert ("tunery_workspace_step", ("default", "b")) not in found
    assert found["tunery_queue_depth", ()] == 5
    assert found["tunery_leader", ()] == 1
    assert found["tunery_reconcile_seconds_bucket", ("0.03",)] == 1
    assert found["tunery_reconcile_errors_total", ("conflict",)] == 1
    assert found["tunery_api_requests_total", ("201", "apply")] == 2
    assert found["tunery_gpu_seconds_total", ()] == 25


def informer_of(kind: str) -> Informer[Any]:
    async def made() -> Informer[Any]:
        return Informer(Kube(None), Source("v1", kind), lambda b: b, print)  # type: ignore[arg-type]

    return asyncio.run(made())


def test_it_is_not_healthy_when_a_restart_would_help() -> None:
    informer = informer_of("Pod")
    assert health.complaints([informer], 0, ended=False) == []
    assert health.complaints([informer], 121, ended=False) == ["a worker has been stuck for 121 s"]
    assert health.complaints([informer], 0, ended=True) == ["the loop has ended"]
    informer.heard_at = time.monotonic() - 301
    assert health.complaints([informer], 0, ended=False) == [
        "nothing was heard about Pod for 301 s"
    ]


def get(port: int, path: str) -> tuple[int, str, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers["Content-Type"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_the_engine_answers_over_http() -> None:
    async def scenario() -> None:
        process = Process(metrics_port=free_port())

        async def ask(path: str) -> tuple[int, str, str]:
            return await asyncio.to_thread(get, process.metrics_port, path)

        async with running() as api:
            api.put("nodes", node())
            api.put("workspaces", workspace())
            api.faults.append(Fault("GET", "/pods", status=500, times=2))
            async with operating(api, process=process) as engine:
                await until(lambda: len(api.log) > 9)
                code, text = (await ask("/readyz"))[:2]
                # Others may not be listed yet either, on a busy machine.
                assert code == 500 and "Pod is being listed" in text.splitlines()
                assert (await ask("/healthz"))[:2] == (200, "ok")
                await until(lambda: not engine.unready())
                await settled(api, engine)
                assert (await ask("/readyz"))[:2] == (200, "ok")
                status, text, kind = await ask("/metrics")
                assert (status, kind) == (200, "text/plain; version=0.0.4")
                found = samples(text)
                assert found["tunery_api_requests_total", ("500", "list")] == 2
                assert found["tunery_workspaces", ("tuning", "Pending")] == 1

    asyncio.run(scenario())


def test_a_bug_is_counted_logged_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("workspaces", workspace())
            wire = api.wire()
            broken: Any = None
            engine = Engine(wire, INSTALLATION, Process(metrics_port=0), broken)
            task = asyncio.create_task(engine.run())
            await until(lambda: "error=bug" in caplog.text)
            assert "key=default/one" in caplog.text
            assert not task.done()
            assert engine.unhealthy() == []
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await wire.close()

    asyncio.run(scenario())


def test_events_are_posted_and_one_that_cannot_be_is_no_trouble() -> None:
    async def scenario() -> None:
        async with running() as api:
            about = api.put("workspaces", workspace())
            wire = api.wire()
            api.faults.append(Fault("POST", "/events", status=403))
            told = [Event("Normal", "A", "first"), Event("Warning", "B", "x" * 2000)]
            journal = Journal(Kube(wire), "pod-1")
            journal.post(about, told, "2026-01-01T00:00:00Z")
            poster = asyncio.create_task(journal.run())
            await until(lambda: api.of("events"))
            poster.cancel()
            await asyncio.gather(poster, return_exceptions=True)
            await wire.close()
            (posted,) = api.of("events")
            assert (posted["type"], posted["reason"], posted["count"]) == ("Warning", "B", 1)
            assert posted["message"] == "x" * 1024
            assert posted["involvedObject"]["uid"] == about["metadata"]["uid"]
            assert posted["reportingInstance"] == "pod-1"

    asyncio.run(scenario())
