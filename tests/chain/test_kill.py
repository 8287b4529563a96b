"""Killed anywhere, run again: the same digest as the run never killed, and nothing partial before.

`make test` runs a choice of the matrix; `make kill-matrix` all of it.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from rig.chain import Chain
from rig.fault_proxy import FaultProxy, Hold, Rule, running_proxy
from rig.registry import RunningRegistry
from rig.webserver import Reply, WebServer, running_webserver

LIMIT_S = 120


@dataclass
class Scene:
    """One run that is about to be killed."""

    chain: Chain
    process: subprocess.Popen[str]
    work: Path
    proxy: FaultProxy
    web: WebServer
    hold: Hold | None


@dataclass(frozen=True)
class Point:
    """A moment of a run: how to know that it has come."""

    name: str
    reached: Callable[[Scene], None]
    hold_on: str = ""
    """Pattern of the PUT that the proxy holds, if the moment is there."""


def line(text: str) -> Callable[[Scene], None]:
    """The moment when the run says this."""

    def wait(scene: Scene) -> None:
        assert scene.process.stderr is not None
        for said in scene.process.stderr:
            if text in said:
                return
        pytest.fail(f"the run ended without saying {text!r}")

    return wait


def there(seen: Callable[[Path], bool]) -> Callable[[Scene], None]:
    """The moment when the work folder looks like this."""

    def wait(scene: Scene) -> None:
        end = time.monotonic() + LIMIT_S
        while not seen(scene.work):
            assert scene.process.poll() is None, scene.process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.001)

    return wait


def asked_for_data(scene: Scene) -> None:
    there(lambda _: bool(scene.web.log))(scene)


def held(scene: Scene) -> None:
    assert scene.hold is not None
    assert scene.hold.reached.wait(LIMIT_S)


def half_a_checkpoint(work: Path) -> bool:
    return (work / "checkpoint-8").is_dir() and not (work / "checkpoint-8/tunery.json").exists()


POINTS = {
    point.name: point
    for point in (
        Point("download", asked_for_data),
        Point("check", there(lambda work: (work / ".rows.checked").exists())),
        Point("rows checked", there(lambda work: (work / "prepared.json").exists())),
        Point("model loading", line("training on")),
        Point("first step", line("step 0/24")),
        Point("checkpoint being written", there(half_a_checkpoint)),
        Point("mid-run", line("(50 %)")),
        Point("last step", line("(100 %)")),
        Point("adapter written", there(lambda work: (work / "adapter").exists())),
        Point("blob upload", held, "/blobs/uploads/"),
        Point("blobs there, no manifest", held, "/manifests/sha256"),
        Point("manifest there, no tag", held, "/manifests/v1"),
    )
}
IN_MAKE_TEST = {
    ("download", "SIGKILL"),
    ("checkpoint being written", "SIGKILL"),
    ("mid-run", "SIGTERM"),
    ("last step", "SIGKILL"),
    ("blob upload", "SIGTERM"),
    ("manifest there, no tag", "SIGKILL"),
}


def matrix() -> Iterator[object]:
    for name in POINTS:
        for number in ("SIGKILL", "SIGTERM"):
            marks = () if (name, number) in IN_MAKE_TEST else (pytest.mark.long,)
            yield pytest.param(name, number, marks=marks, id=f"{name}-{number}")


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with running_webserver() as found:
        yield found


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """The digest of the run never killed, once it is known."""
    return {}


@contextmanager
def scene(
    chain: Chain,
    codes: Path,
    registry: RunningRegistry,
    web: WebServer,
    point: Point,
    work: Path,
    number: str,
) -> Iterator[Scene]:
    body = codes.read_bytes()
    web.log.clear()
    slow = Reply(body=body, silent_s=5.0) if point.name == "download" else Reply(body=body)
    web.put("/codes.parquet", slow, Reply(body=body))
    with running_proxy(registry.host) as proxy:
        hold = Hold() if point.hold_on else None
        if hold is not None:
            proxy.rules.append(Rule("PUT", point.hold_on, hold))
        command = command_of(chain, web, work, proxy.host, f"{point.name} {number}".lower())
        process = chain.start(command)
        try:
            yield Scene(chain, process, work, proxy, web, hold)
        finally:
            if hold is not None:
                hold.release.set()
            process.kill()
            process.communicate()


def command_of(chain: Chain, web: WebServer, work: Path, host: str, name: str) -> list[str]:
    """`tunery run` with the data from the web server, as the Workspace says."""
    text = chain.file.read_text().replace(
        "https://data.example.org/codes.parquet", web.url("/codes.parquet")
    )
    file = work.parent / "web.yaml"
    file.write_text(text)
    output = f"{host}/kill/{name.replace(' ', '-').replace(',', '')}:v1"
    words = ("--model", str(chain.model), "--work", str(work), "--output", output)
    return chain.command("run", str(file), *words, "--allow-host", "127.0.0.1")


def digest_of(host: str, command: list[str]) -> str | None:
    """What the tag is in the registry itself, past the proxy; None when it is not there."""
    output = command[command.index("--output") + 1]
    name, tag = output.split("/", 1)[1].rsplit(":", 1)
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    answer = requests.head(f"http://{host}/v2/{name}/manifests/{tag}", headers=accept, timeout=10)
    return answer.headers["Docker-Content-Digest"] if answer.status_code == 200 else None


@pytest.mark.parametrize(("name", "number"), list(matrix()))
@pytest.mark.timeout(400)
def test_killed_and_run_again_gives_the_same_adapter(
    chain: Chain,
    codes: Path,
    registry: RunningRegistry,
    web: WebServer,
    undisturbed: dict[str, str],
    tmp_path: Path,
    name: str,
    number: str,
) -> None:
    expected = undisturbed.get("digest") or never_killed(chain, codes, registry, web, tmp_path)
    undisturbed["digest"] = expected
    work = tmp_path / "work"
    with scene(chain, codes, registry, web, POINTS[name], work, number) as now:
        command = list(now.process.args)  # type: ignore[call-overload]  # a list, as started
        POINTS[name].reached(now)
        now.process.send_signal(signal.Signals[number])
        _, said = now.process.communicate(timeout=LIMIT_S)
        assert now.process.returncode == (-9 if number == "SIGKILL" else 75), said
        assert digest_of(registry.host, command) is None
    with running_proxy(registry.host) as proxy:
        again = [word.replace(now.proxy.host, proxy.host) for word in command]
        done = chain.finish(again)
    assert done.returncode == 0, done.stderr
    assert digest_of(registry.host, command) == expected


def never_killed(
    chain: Chain, codes: Path, registry: RunningRegistry, web: WebServer, folder: Path
) -> str:
    web.put("/codes.parquet", Reply(body=codes.read_bytes()))
    command = command_of(chain, web, folder / "undisturbed", registry.host, "never")
    done = chain.finish(command)
    assert done.returncode == 0, done.stderr
    found = digest_of(registry.host, command)
    assert found is not None
    return found
