"""What a pod says of itself is asked every few seconds, and only while somebody wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from rig.operating import KEY, until

from jobs.progress import parse
from jobs.seen import Pod, Progress
from poller import Poller

POD = Pod(name="one-abc", uid="u1", created_at="", phase="Running", ip="127.0.0.1")
TEXT = "tunery_step {}\ntunery_steps 10\ntunery_loss 0.5\n"


class Told:
    def __init__(self) -> None:
        self.all: list[Progress | None] = []

    def __call__(self, key: Any, who: str, progress: Progress | None) -> None:
        assert (key, who) == (KEY, POD.uid)
        self.all.append(progress)

    @property
    def steps(self) -> list[int | None]:
        return [told.step if told else None for told in self.all]


class Trainer:
    """A pod's /metrics, as it should be and otherwise."""

    def __init__(self) -> None:
        self.asked = 0
        self.url = ""
        self.answers: list[web.Response | None] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        response = self.answers.pop(0) if self.answers else web.Response(text=TEXT.format(9))
        if response is None:
            await asyncio.Event().wait()
        assert response is not None
        return response


@asynccontextmanager
async def training(
    told: Told, every_s: float = 0.02, *, seldom_when_same: bool = False
) -> AsyncIterator[tuple[Trainer, Poller[Progress]]]:
    trainer = Trainer()
    poller = Poller(told, parse, every_s, first_s=0, seldom_when_same=seldom_when_same)
    app = web.Application()
    app.router.add_get("/metrics", trainer.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    trainer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    try:
        yield trainer, poller
    finally:
        await poller.close()
        await runner.cleanup()


def test_it_tells_every_step_until_it_is_told_to_stop() -> None:
    async def scenario() -> None:
        told = Told()
        async with training(told) as (trainer, poller):
            trainer.answers = [web.Response(text=TEXT.format(step)) for step in (1, 2)]
            poller.follow(KEY, {POD.uid: trainer.url})
            poller.follow(KEY, {POD.uid: trainer.url})
            await until(lambda: told.steps[:3] == [1, 2, 9])
            assert told.all[0] == Progress("u1", 1, 10, loss=0.5)
            assert len(poller) == 1
            poller.follow(KEY, {})
            assert (len(poller), told.all[-1]) == (0, None)
            asked = trainer.asked
            await asyncio.sleep(0.1)
            assert trainer.asked == asked

    asyncio.run(scenario())


def test_whatever_a_pod_answers_it_is_asked_again() -> None:
    async def scenario() -> None:
        told = Told()
        async with training(told) as (trainer, poller):
            trainer.answers = [
                web.Response(status=500),
                web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
                web.Response(body=b"\xff\xfe\x00"),
                web.Response(body=b"x" * 2**20),
                web.Response(text=TEXT.format(3)),
            ]
            poller.follow(KEY, {POD.uid: trainer.url})
            await until(lambda: 3 in told.steps)
            assert told.steps[0] is None or told.steps[0] == 3

    asyncio.run(scenario())


def test_one_that_says_nothing_is_given_up_after_two_seconds() -> None:
    async def scenario() -> None:
        told = Told()
        async with training(told) as (trainer, poller):
            trainer.answers = [None]
            poller.follow(KEY, {POD.uid: trainer.url})
            await until(lambda: told.steps == [9], limit_s=5)

    asyncio.run(scenario())


def test_one_that_never_answers_is_asked_ever_more_seldom() -> None:
    async def scenario() -> None:
        told = Told()
        async with training(told, every_s=0.05) as (trainer, poller):
            trainer.answers = [web.Response(status=503) for _ in range(50)]
            poller.follow(KEY, {POD.uid: trainer.url})
            await asyncio.sleep(1.2)
            # After 0.1, 0.15, 0.2, 0.25 s, and 0.3 s from then on; it would be 24 times.
            assert 3 <= trainer.asked <= 7

    asyncio.run(scenario())


def test_one_that_says_nothing_new_may_be_asked_ever_more_seldom() -> None:
    async def scenario() -> None:
        told = Told()
        async with training(told, every_s=0.05, seldom_when_same=True) as (trainer, poller):
            poller.follow(KEY, {POD.uid: trainer.url})
            await asyncio.sleep(1.2)
            assert 3 <= trainer.asked <= 7
            assert set(told.steps) == {9}

    asyncio.run(scenario())


def test_after_a_stop_it_may_follow_the_same_pod_again() -> None:
    async def scenario() -> None:
        told = Told()
        async with training(told, every_s=60) as (trainer, poller):
            poller.follow(KEY, {POD.uid: trainer.url})
            await until(lambda: told.steps == [9])
            await poller.stop()
            assert len(poller) == 0
            poller.follow(KEY, {POD.uid: trainer.url})
            await until(lambda: told.steps == [9, 9])

    asyncio.run(scenario())


def test_another_pod_is_another_progress() -> None:
    async def scenario() -> None:
        told = Told()
        async with training(told, every_s=60) as (trainer, poller):
            poller.follow(KEY, {POD.uid: trainer.url + "?1"})
            await until(lambda: told.steps == [9])
            poller.follow(KEY, {POD.uid: trainer.url + "?2"})
            await until(lambda: told.steps == [9, None, 9])

    asyncio.run(scenario())
