"""What the loop around `decide` gives it and takes from it."""

from __future__ import annotations

from rig.world import NOW, World

from jobs import marks
from jobs.decision import Patch
from jobs.seen import Seen
from presets import Catalog


def test_progress_is_asked_of_the_pod_that_trains(world: World) -> None:
    world.settle()
    labels = marks.labels(
        "tune-phi-3", "default", world.body["metadata"]["annotations"][marks.HASH]
    )
    running = {"running": {"startedAt": NOW}}
    pod = {
        "metadata": {"name": "p", "uid": "p", "labels": labels, "creationTimestamp": NOW},
        "spec": {"initContainers": [{"name": "prepare"}], "containers": [{"name": "tune-phi-3"}]},
        "status": {
            "phase": "Pending",
            "podIP": "fd00::7",
            "initContainerStatuses": [{"name": "prepare", "state": running}],
        },
    }
    world.pods = [pod]
    assert world.decide().watch_progress_of == ""
    pod["status"] |= {  # type: ignore[operator]
        "phase": "Running",
        "containerStatuses": [{"name": "tune-phi-3", "state": running}],
    }
    assert world.decide().watch_progress_of == "http://[fd00::7]:5000/metrics"


def test_an_error_of_the_last_reconcile_is_told(world: World) -> None:
    decision = world.decide("the API server is away")
    assert any("the API server is away" in c["message"] for c in decision.status["conditions"])  # type: ignore[index]


def test_deciding_needs_nothing_but_a_name(catalog: Catalog) -> None:
    world = World({"apiVersion": "kaito.sh/v1beta1", "metadata": {"name": "x"}}, catalog)
    assert world.decide().status is not None
    assert Seen() == Seen()


def test_patches_name_only_what_is_ours(world: World) -> None:
    world.settle()
    (patch,) = [a for a in world.done if isinstance(a, Patch)]
    assert set(patch.patch) == {"metadata"}
    assert set(patch.patch["metadata"]) == {"annotations"}
