"""The operator's process against real API servers: killed, restarted, doubled, cut off.

On a cluster of its own, for an operator that another test has installed would do the same work.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import operating
from rig.kube import Kube, Machine
from rig.operator_process import DYING, Operator, started

from cluster import faults, session
from cluster import machine as namespaces
from cluster.build import program
from cluster.layout import Layout, default
from cluster.up import Options
from scripts.crd.__main__ import TARGET

pytestmark = pytest.mark.timeout(300)
Object = dict[str, Any]
LABELS = {"node.kubernetes.io/instance-type": operating.SKU, "apps": "tuning"}


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    layout = Layout(default().cache, tmp_path_factory.mktemp("apart") / "cluster")
    with session.borrowed(layout, Options(gpus=1, labels=LABELS)) as pid:
        yield Machine(layout, pid)


@pytest.fixture(scope="module")
def cluster(apart: Machine) -> Kube:
    kubectl = [program(apart.layout, "kubectl"), f"--kubeconfig={apart.layout.kubeconfig}"]
    kube = Kube(namespaces.inside(apart.pid, kubectl))
    kube("apply", "--server-side", "-f", str(TARGET))
    kube.wait("crd/workspaces.kaito.sh", "condition=Established")
    kube("create", "namespace", "tunery-system")
    return kube


@pytest.fixture
def space(cluster: Kube, request: pytest.FixtureRequest) -> Iterator[Kube]:
    """A namespace whose Workspaces are gone before the next test's operator starts."""
    name = f"n{abs(hash(request.node.name)) % 10**8}"
    cluster("create", "namespace", name)
    yield cluster.within(name)
    cluster.within(name)("delete", "workspaces", "--all", "--wait=true")


def workspace(space: Kube, name: str = "one", **tuning: Any) -> Object:
    return operating.workspace(name, space.namespace, **tuning)


def until(true: Callable[[], Any], limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def listed(space: Kube, kind: str) -> list[Object]:
    found: list[Object] = json.loads(space("get", kind, "-o", "json"))["items"]
    return found


def made(space: Kube) -> Object:
    """What belongs to Workspace `one`, without what is another each time."""
    job, body = space.get("job", "one"), space.get("workspace", "one")
    marks = {k: v for k, v in body["metadata"]["annotations"].items() if "kaito" in k}
    maps = [m for m in listed(space, "configmaps") if m["metadata"]["name"].startswith("one-")]
    revisions = listed(space, "controllerrevisions")
    template = json.dumps(job["spec"]["template"]["spec"])
    uid = body["metadata"]["uid"]
    owners = {r["uid"] for o in (job, *maps, *revisions) for r in o["metadata"]["ownerReferences"]}
    assert owners == {uid}
    return {
        "template": template,
        "marks": marks,
        "snapshots": [(m["metadata"]["name"], m["data"], m["immutable"]) for m in maps],
        "revisions": [(r["metadata"]["name"], r["revision"]) for r in revisions],
        "run": {k: v for k, v in body["status"]["run"].items() if "At" not in k},
        "conditions": sorted(c["type"] for c in body["status"]["conditions"]),
    }


def dies(apart: Machine, log: Path) -> bool:
    """One life: whether it found something to write, and so its end."""
    with started(apart, log, DYING) as operator:
        while operator.process.poll() is None:
            if operator.get("/readyz")[0] == 200 and operator.metric("tunery_leader"):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    operator.process.wait(2)
                break
            time.sleep(0.1)
        return operator.process.poll() == -signal.SIGKILL


def test_killed_after_every_write_it_ends_in_the_same_objects(
    apart: Machine, space: Kube, tmp_path: Path
) -> None:
    space.apply(workspace(space))
    deaths = 0
    while dies(apart, tmp_path / "log"):
        deaths += 1
        assert deaths < 20
    assert deaths >= 5
    killed = made(space)
    space("delete", "workspace", "one", "--wait=true")
    until(lambda: not listed(space, "jobs"))
    space.apply(workspace(space))
    with started(apart, tmp_path / "log2") as operator:
        operator.ready()
        until(lambda: listed(space, "jobs") and "status" in space.get("workspace", "one"))
        operator.at_rest()
    assert made(space) == killed


def test_a_restart_writes_nothing(apart: Machine, space: Kube, tmp_path: Path) -> None:
    space.apply(*(workspace(space, f"w{number}") for number in range(20)))
    with started(apart, tmp_path / "log") as operator:
        operator.ready()
        until(lambda: len(listed(space, "jobs")) == 20)
        operator.at_rest()
        assert operator.writes() > 0
        assert operator.get("/healthz") == (200, "ok")
    with started(apart, tmp_path / "log2") as operator:
        operator.ready()
        operator.at_rest()
        assert operator.metric("tunery_reconcile_seconds_count") >= 20
        assert operator.writes() == 0


def test_sigterm_in_the_middle_of_work_ends_it_in_seconds_and_loses_nothing(
    apart: Machine, space: Kube, tmp_path: Path
) -> None:
    with started(apart, tmp_path / "log") as operator:
        operator.ready()
        space.apply(*(workspace(space, f"w{number:02}") for number in range(40)))
        until(lambda: listed(space, "jobs"))
        code, seconds = operator.stop()
        assert code == 0
        assert seconds < 5
        assert "Traceback" not in operator.log.read_text()
    with started(apart, tmp_path / "log2") as operator:
        operator.ready()
        until(lambda: len(listed(space, "jobs")) == 40)


def test_the_api_server_restarts_and_what_happened_meanwhile_is_repaired(
    apart: Machine, space: Kube, tmp_path: Path
) -> None:
    space.apply(workspace(space), workspace(space, "two"))
    with started(apart, tmp_path / "log") as operator:
        operator.ready()
        until(lambda: len(listed(space, "jobs")) == 2)
        operator.at_rest()
        operator.process.send_signal(signal.SIGSTOP)
        uid = space.get("job", "one")["metadata"]["uid"]
        space("delete", "job", "one", "--wait=true")
        faults.restart_api_server(apart.layout, apart.pid)
        operator.process.send_signal(signal.SIGCONT)
        until(lambda: len(listed(space, "jobs")) == 2)
        assert space.get("job", "one")["metadata"]["uid"] != uid
        # And while it runs: it says that nobody answers, and goes on when somebody does.
        faults.restart_api_server(apart.layout, apart.pid)
        space.apply(workspace(space, "three"))
        until(lambda: len(listed(space, "jobs")) == 3)
        assert "the API server did not answer" in operator.log.read_text()
        assert operator.get("/healthz") == (200, "ok")


def leader(operators: list[Operator]) -> Operator | None:
    leading = [o for o in operators if o.metric("tunery_leader") == 1]
    assert len(leading) <= 1
    return leading[0] if leading else None


def test_of_two_replicas_one_writes_and_the_other_takes_over(
    apart: Machine, space: Kube, tmp_path: Path
) -> None:
    def replica(name: str) -> Any:
        log = tmp_path / f"{name}.log"
        return started(apart, log, TUNERY_REPLICAS="2", TUNERY_POD_NAME=name)

    with replica("a") as a, replica("b") as b:
        a.ready()
        b.ready()
        until(lambda: leader([a, b]))
        first = leader([a, b])
        assert first is not None
        second = b if first is a else a
        space.apply(workspace(space))
        until(lambda: listed(space, "jobs"))
        first.at_rest()
        assert second.metric("tunery_api_requests_total", verb="apply") == 0
        # It gives the lease back: the other need not wait until it has run out.
        began = time.monotonic()
        first.stop()
        until(lambda: leader([second]))
        assert time.monotonic() - began < 8
        space.apply(workspace(space, "two"))
        until(lambda: len(listed(space, "jobs")) == 2)
        with replica("c") as third:
            third.ready()
            # One that is killed cannot.
            second.stop(signal.SIGKILL)
            until(lambda: leader([third]), limit_s=30)
            space.apply(workspace(space, "three"))
            until(lambda: len(listed(space, "jobs")) == 3)
