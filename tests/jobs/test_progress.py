"""A pod's /metrics → progress, and how seldom it is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.statuses import facts

from jobs import seen
from jobs.events import events
from jobs.progress import LEAST_S, duration, parse, seconds
from jobs.status import Facts, status
from tuning.metrics import exposition
from tuning.progress import Progress

ACTIVE = {"active": 1, "ready": 1, "startTime": "2026-11-27T10:00:00Z"}
MAIN = {"name": "w", "state": {"running": {"startedAt": "2026-11-27T10:00:10Z"}}}
POD = {"phase": "Running", "containerStatuses": [MAIN]}
NEXT: dict[str, Any] = {
    "phase": "Running",
    "containerStatuses": [
        {"name": "w", "state": {"running": {"startedAt": "2026-11-27T10:05:10Z"}}}
    ],
}
KILLED: dict[str, Any] = {
    "phase": "Failed",
    "containerStatuses": [
        {
            "name": "w",
            "state": {
                "terminated": {
                    "exitCode": 137,
                    "startedAt": "2026-11-27T10:00:10Z",
                    "finishedAt": "2026-11-27T10:04:00Z",
                }
            },
        }
    ],
}


def at(seconds_: int) -> str:
    return f"2026-11-27T10:{seconds_ // 60:02}:{seconds_ % 60:02}Z"


def step(n: int, uid: str = "pod-1", kept_step: int | None = None) -> Facts:
    now = seen.Progress(uid, n, 64, 1.23456, 3000.4, 250.0, kept_step)
    return facts(ACTIVE, [POD], progress=now)


def test_what_the_trainer_says_is_read() -> None:
    now = Progress(7, 64, loss=1.5, epoch=0.5, tokens=900, tokens_per_s=3000.5, eta_s=12.25)
    assert parse(exposition(now), "u") == seen.Progress("u", 7, 64, 1.5, 3000.5, 12.25)


def test_before_the_first_step_there_is_none() -> None:
    assert parse(exposition(Progress(0, 0)), "u") is None
    assert parse(exposition(Progress(0, 64)), "u") == seen.Progress("u", 0, 64)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>not found</html>",
        "tunery_step 3",
        "tunery_step 3\ntunery_steps 0",
        "tunery_step 65\ntunery_steps 64",
        "tunery_step -1\ntunery_steps 64",
        "tunery_step NaN\ntunery_steps 64",
        "tunery_step 1e999\ntunery_steps 1e999",
        "tunery_step 1\ntunery_steps 1e300",
        "tunery_step 1-1\ntunery_steps 64",
        " tunery_step 3\n tunery_steps 64",
        "#" * 70_000 + "\ntunery_step 3\ntunery_steps 64",
    ],
)
def test_what_makes_no_sense_is_none(text: str) -> None:
    assert parse(text, "u") is None


def test_a_number_that_makes_no_sense_is_left_out() -> None:
    text = "tunery_step 3\ntunery_steps 64\ntunery_loss nan\ntunery_eta_seconds -5\n"
    assert parse(text, "u") == seen.Progress("u", 3, 64)


def test_windows_lines() -> None:
    assert parse("tunery_step 3\r\ntunery_steps 64\r\n", "u") == seen.Progress("u", 3, 64)


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_nothing_raises(text: str) -> None:
    assert parse(text, "u") is None or "tunery_step" in text


def test_a_megabyte_takes_no_time() -> None:
    assert parse("tunery_step 1\ntunery_steps 2\n" + "tunery_step " * 100_000, "u") is not None


def test_it_is_shown() -> None:
    assert status(step(16), {}, at(130))["progress"] == {
        "step": 16,
        "of": 64,
        "percent": 25,
        "loss": "1.235",
        "tokensPerSecond": "3000",
        "eta": "4m10s",
        "gpuSeconds": 130,
        "updatedAt": at(130),
    }


def test_the_checkpoint_that_outlives_the_pod_is_shown_also_while_nothing_runs() -> None:
    told = "tunery_step 16\ntunery_steps 64\ntunery_kept_step 12\n"
    found = parse(told, "u")
    assert found == seen.Progress("u", 16, 64, kept_step=12)
    first = status(step(16, kept_step=12), {}, at(130))
    assert first["progress"]["keptStep"] == 12
    waits = status(facts({"failed": 1}, [KILLED]), first, at(241))["progress"]
    assert waits["keptStep"] == 12


def test_what_was_kept_at_the_very_end_is_known_from_the_last_words() -> None:
    words = '{"phase":"train","state":"failed","step":20,"of":64,"kept_step":20}'
    ended = {"exitCode": 75, "startedAt": at(10), "finishedAt": at(240), "message": words}
    pod = {"phase": "Failed", "containerStatuses": [{"name": "w", "state": {"terminated": ended}}]}
    first = status(step(16, kept_step=12), {}, at(130))
    waits = status(facts({"failed": 1}, [pod]), first, at(241))
    assert waits["progress"]["keptStep"] == waits["attempts"][0]["keptStep"] == 20
    (event,) = [e for e in events(first, waits) if e.reason == "AttemptFailed"]
    assert "at step 20 of 64" in event.message and event.message.endswith("; step 20 is kept")


@pytest.mark.parametrize("step", ["0", "-3", "65", "nan", "1e400"])
def test_a_checkpoint_of_no_step_is_left_out(step: str) -> None:
    text = f"tunery_step 16\ntunery_steps 64\ntunery_kept_step {step}\n"
    assert parse(text, "u") == seen.Progress("u", 16, 64)


def test_at_most_every_ten_seconds() -> None:
    first = status(step(1), {}, at(60))
    assert status(step(2), first, at(60 + LEAST_S - 1)) == first
    assert status(step(2), first, at(60 + LEAST_S))["progress"]["step"] == 2


def test_only_when_the_step_has_changed() -> None:
    first = status(step(1), {}, at(60))
    assert status(step(1), first, at(600)) == first


def test_the_last_step_is_told_at_once() -> None:
    first = status(step(63), {}, at(60))
    assert status(step(64), first, at(61))["progress"]["percent"] == 100


def test_what_another_pod_said_is_not_told() -> None:
    assert "progress" not in status(step(5, uid="another"), {}, at(60))


def test_an_operator_that_restarts_writes_nothing() -> None:
    """Its poller has not asked yet; the pod still trains, and its end is where it was."""
    first = status(step(5), {}, at(60))
    assert status(facts(ACTIVE, [POD]), first, at(300)) == first


def test_a_run_that_waits_has_no_end_in_sight() -> None:
    first = status(step(5), {}, at(60))
    waits = status(facts({"failed": 1}, [KILLED]), first, at(241))["progress"]
    assert not {"eta", "tokensPerSecond"} & waits.keys()
    assert waits["step"] == 5
    again = status(facts(ACTIVE, [KILLED, NEXT]), {**first, "progress": waits}, at(311))["progress"]
    assert not {"eta", "tokensPerSecond"} & again.keys()


def test_the_steps_are_known_before_the_first() -> None:
    done = {"exitCode": 0, "startedAt": at(1), "message": '{"phase":"prepare","of":64}'}
    prepared = {
        **POD,
        "initContainerStatuses": [{"name": "prepare", "state": {"terminated": done}}],
    }
    told = status(facts(ACTIVE, [prepared]), {}, at(12))["progress"]
    assert (told["step"], told["of"], told["percent"]) == (0, 64, 0)


def test_gpu_seconds_never_shrink() -> None:
    first = status(step(5), {}, at(200))
    assert status(step(6), first, at(100))["progress"]["gpuSeconds"] == 200


def test_a_pod_without_gpus_takes_no_gpu_seconds() -> None:
    told = status(facts(ACTIVE, [POD], progress=step(5).seen.progress, gpus_per_pod=0), {}, at(60))
    assert "gpuSeconds" not in told["progress"]


@pytest.mark.parametrize(
    ("length_s", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (60, "1m"),
        (250, "4m10s"),
        (3600, "1h"),
        (3660, "1h1m"),
        (86399, "23h59m"),
        (90000, "1d1h"),
        (2**53, "104249991374d7h"),
    ],
)
def test_durations(length_s: float, text: str) -> None:
    assert duration(length_s) == text


def test_times_that_are_none() -> None:
    assert seconds("2026-11-27T10:00:00Z", "2026-11-27T10:01:00Z") == 60
    assert seconds("2026-11-27T10:00:00Z", "2026-11-27T10:01:00") == 0
    assert seconds(None, "soon") == 0
