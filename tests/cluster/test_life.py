"""Up and down: repeatable, alone, and without a trace, whenever it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from rig.second import command, say, traces

from cluster import machine
from cluster.layout import Layout, default
from cluster.lock import locked
from cluster.preflight import look, problems
from cluster.recipes import ROOT

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("after_s", [0.4, 3.0])
def test_nothing_is_left_after_up_was_killed(second: Layout, after_s: float) -> None:
    with subprocess.Popen(
        command(second, "up"), cwd=ROOT, stderr=subprocess.DEVNULL, process_group=0
    ) as process:
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGKILL)
    assert say(second, "down").returncode == 0
    assert traces(second) == []


def test_a_second_cluster_lives_beside_the_first_and_goes_alone(second: Layout) -> None:
    shared = machine.find(default())
    first = say(second, "up")
    assert first.returncode == 0, first.stderr
    started_s = time.monotonic()
    again = say(second, "up")
    assert again.returncode == 0
    assert time.monotonic() - started_s < 10
    assert "wait for" not in again.stderr
    assert say(second, "status").returncode == 0
    nodes = say(second, "exec", "kubectl", "get", "nodes", "-o", "name")
    assert nodes.stdout == "node/node1\n"
    assert traces(second) != []
    assert say(second, "down").returncode == 0
    assert traces(second) == []
    assert say(second, "status").returncode == 1
    assert machine.find(default()) == shared


def test_the_last_borrower_stops_it_also_when_told_to_end(second: Layout) -> None:
    again, running = (
        " ".join(command(second, *words)) for words in (("with", "true"), ("status",))
    )
    script = f"{again} && {running} && kill -TERM $PPID; exec sleep 60"
    done = say(second, "with", "--", "sh", "-c", script)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert traces(second) == []


def test_words_without_a_cluster_say_how_to_start_one(second: Layout) -> None:
    for words in (("exec", "true"), ("load", "x"), ("logs", "etcd")):
        done = say(second, *words)
        assert done.returncode == 1
        assert done.stderr.startswith("cluster: no ")
        assert "Traceback" not in done.stderr


def test_another_copy_is_waited_for(second: Layout) -> None:
    with locked(second):
        down = subprocess.Popen(
            command(second, "down"), cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        assert down.stderr is not None
        assert "waiting for it" in down.stderr.readline()
    with down:
        assert down.wait(timeout=60) == 0


def test_this_machine_is_found_fit_by_the_same_look_that_refuses_others(second: Layout) -> None:
    assert problems(look(second), second, building=True) == []
