"""The webhook and its certificate with a real API server: trusted, renewed, put back."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from http.client import HTTPSConnection
from typing import Any

import pytest
from rig.hooked import KIND, Hooked, seconds
from rig.kube import Kube, Machine
from rig.manifests import tuning
from rig.refusals import refusal

from cluster.network import entered
from webhook import PATH

pytestmark = pytest.mark.usefixtures("crd")
BAD = tuning({"tuning.preset.name": "no-such-model"})
TOLD = "denied the request: invalid value: Unsupported tuning preset name no-such-model"
Run = Callable[[Callable[[], Awaitable[None]]], None]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def hooked(machine: Machine, namespace: Kube) -> Iterator[Hooked]:
    with entered(machine.pid):
        made = Hooked(machine, namespace, free_port())
    made.configure()
    yield made
    made.remove()


@pytest.fixture
def inside(machine: Machine) -> Run:
    """Run a scenario in the network of our machine."""

    def run(scenario: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            await scenario()

        with entered(machine.pid):
            asyncio.run(whole())

    return run


async def told(hooked: Hooked, body: Any = BAD) -> str:
    return await asyncio.to_thread(refusal, hooked.kube, body)


async def until(true: Callable[[], bool], limit_s: float = 15) -> None:
    deadline_s = time.monotonic() + limit_s
    while not await asyncio.to_thread(true):
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.1)


def test_it_is_asked_as_soon_as_it_is_ready_and_nothing_of_it_stays_on_disk(
    hooked: Hooked, inside: Run
) -> None:
    async def scenario() -> None:
        assert "failed calling webhook" in await told(hooked)
        async with hooked.serving("pod-1"):
            assert TOLD in await told(hooked)
            assert await told(hooked, tuning()) == ""
            assert hooked.trusts() == 1

    inside(scenario)


@pytest.mark.timeout(120)
def test_a_certificate_is_renewed_while_it_is_asked_without_a_failure(
    hooked: Hooked, inside: Run
) -> None:
    async def scenario() -> None:
        served, most, asked = set(), 0, 0
        until_s = time.monotonic() + 25
        async with hooked.serving("pod-1", life=seconds(9)):
            while time.monotonic() < until_s:
                assert TOLD in await told(hooked)
                served.add(await hooked.serial())
                most = max(most, await asyncio.to_thread(hooked.trusts))
                asked += 1
        assert len(served) >= 3
        assert asked > 20
        assert most == 2  # the old one while the new one is not served yet, and no more

    inside(scenario)


def test_whoever_takes_the_certificate_out_is_put_right_at_once(
    hooked: Hooked, inside: Run
) -> None:
    async def scenario() -> None:
        async with hooked.serving("pod-1"):
            before = hooked.bundle()
            hooked.configure()
            await until(lambda: hooked.bundle() == before)
            hooked.kube("delete", KIND, hooked.name)
            await asyncio.sleep(0.5)
            hooked.configure()
            await until(lambda: hooked.bundle() == before)
            assert TOLD in await told(hooked)

    inside(scenario)


def test_two_replicas_that_start_together_are_both_trusted(hooked: Hooked, inside: Run) -> None:
    """Each is called in turn, as by the Service in front of both."""
    second = free_port()

    async def scenario() -> None:
        async with hooked.serving("pod-1"), hooked.serving("pod-2", port=second):
            await until(lambda: hooked.trusts() == 2)
            for port in (second, hooked.port):
                hooked.configure(port)
                await until(lambda: hooked.trusts() == 2)
                assert TOLD in await told(hooked)

    inside(scenario)


def test_at_rest_nothing_is_written(hooked: Hooked, inside: Run) -> None:
    async def scenario() -> None:
        async with hooked.serving("pod-1"):
            before = hooked.kube.get(KIND, hooked.name)["metadata"]["resourceVersion"]
            for _ in range(3):
                await told(hooked)
            await asyncio.sleep(3)
            after = hooked.kube.get(KIND, hooked.name)["metadata"]["resourceVersion"]
            assert before == after

    inside(scenario)


def test_hostile_requests_harm_nobody(hooked: Hooked, inside: Run) -> None:
    async def ask(body: bytes) -> int:
        return await asyncio.to_thread(post, hooked, body)

    async def scenario() -> None:
        async with hooked.serving("pod-1"):
            assert await ask(b"") == 400
            assert await ask(b"[1, 2") == 400
            assert await ask(b"\xff\xfe") == 400
            assert await ask(b'{"request": {"uid": 1}}') == 400
            assert await ask(b"[" * 5_000_000) == 400
            assert await ask(b" " * 9_000_000) in (0, 413)
            deep = b'{"request": {"uid": "u", "operation": "CREATE", "object": %s}}'
            assert await ask(deep % (b'{"a":' * 900 + b"1" + b"}" * 900)) == 200
            assert await ask(json.dumps(large()).encode()) == 200
            assert TOLD in await told(hooked)

    inside(scenario)


def large() -> Any:
    """As large as the API server may send it: both objects full."""
    body = tuning({"tuning.input.urls": [f"https://data.invalid/{n:09}" for n in range(90_000)]})
    return {"request": {"uid": "u", "operation": "UPDATE", "object": body, "oldObject": body}}


def post(hooked: Hooked, body: bytes) -> int:
    """POST to the webhook as anybody in the cluster can; the status of the answer, or 0."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with entered(hooked.machine.pid):
        connection = HTTPSConnection("127.0.0.1", hooked.port, context=context, timeout=30)
        with closing(connection):
            try:
                connection.request("POST", PATH, body)
                return connection.getresponse().status
            except ConnectionError:  # hung up while we were still sending
                return 0


def test_someone_who_sends_slowly_is_left(hooked: Hooked, inside: Run) -> None:
    async def scenario() -> None:
        async with hooked.serving("pod-1"):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            began_s = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", hooked.port, ssl=context)
            writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
            answer = await reader.read(12)
            assert answer == b"HTTP/1.1 408"
            assert time.monotonic() - began_s < 8
            writer.close()
            await writer.wait_closed()

    inside(scenario)
