"""An inference Workspace over its life: what is made, what is waited for, what is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rig.manifests import Changes, inference
from rig.world import World

from jobs.decision import Apply, Decision
from jobs.seen import Tuned
from presets import Catalog
from serving.lastwords import AdapterWords, ServeWords

DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
PHI = "microsoft/Phi-3-mini-128k-instruct"
MADE = Tuned(
    tunes=True,
    outcome="Succeeded",
    image="registry.invalid/a/facts:1",
    digest=DIGEST,
    base_model=PHI,
    push_secret="push",
)
FACTS = ("default", "facts")
BY_NAME = {"source": {"name": "facts", "workspace": "facts"}}
BY_IMAGE = {"source": {"name": "style", "image": "registry.invalid/adapters/style:1"}}
Object = dict[str, Any]


def words(*adapters: AdapterWords, **more: Any) -> Object:
    """The state of an init container that has said this."""
    models = ("phi-3", *(one.name for one in adapters if one.sentence is None))
    said = ServeWords(**{"state": "done", "models": models, "adapters": adapters, **more})
    return {"terminated": {"exitCode": 0, "message": said.encoded().decode()}}


def done(*adapters: AdapterWords) -> Object:
    return {"state": words(*adapters)}


def good(name: str, digest: str = DIGEST) -> AdapterWords:
    return AdapterWords(name=name, digest=digest, rank=8)


@pytest.fixture
def world(catalog: Catalog) -> World:
    return serving(catalog)


def serving(catalog: Catalog, *adapters: Object, **changes: Any) -> World:
    edits: Changes = {"inference.adapters": list(adapters or (BY_NAME,)), **changes}
    made = World(inference(edits), catalog)
    made.nodes = (replace(made.nodes[0], labels={**made.nodes[0].labels, "app": "tune-phi-3"}),)
    return made


def kinds(world: World) -> list[str]:
    return sorted(kind for kind, _ in world.objects)


def ready(world: World) -> tuple[str, str, str]:
    found = world.condition("InferenceReady")
    return found["status"], found["reason"], found["message"]


def reasons(decision: Decision) -> list[str]:
    return [event.reason for event in decision.events]


def adapters(world: World) -> dict[str, Any]:
    return {one["name"]: one for one in world.status["adapters"]}


SERVED = ["ConfigMap", "ControllerRevision", "Service", "Service", "StatefulSet"]


def test_everything_is_made_once_and_then_nothing(world: World) -> None:
    world.tuned = {FACTS: MADE}
    world.settle()
    assert kinds(world) == SERVED
    writes = len(world.done)
    assert writes <= 8
    world.serve(ready=False)
    world.settle()
    assert ready(world)[:2] == ("False", "WorkspaceInferenceStatusPending")
    assert world.status["state"] == "Pending"
    world.serve(**done(good("facts")))
    told = world.reconcile()
    assert reasons(told) == ["InferenceReady"]
    assert ready(world) == (
        "True",
        "WorkspaceInferenceStatusSuccess",
        "Inference has been deployed successfully: phi-3, facts",
    )
    assert world.status["state"] == "Ready"
    assert world.condition("WorkspaceSucceeded")["status"] == "True"
    assert len(world.done) == writes and not world.reconcile().events


@pytest.mark.parametrize(
    ("tuned", "reason", "said"),
    [
        (None, "AdapterNotServed", "no Workspace facts"),
        (Tuned(tunes=True), "WaitingForAdapter", "has not finished"),
        (Tuned(tunes=True, outcome="Failed"), "AdapterNotServed", "has failed"),
        (Tuned(tunes=False), "AdapterNotServed", "does not tune"),
        (replace(MADE, base_model="org/other"), "AdapterNotServed", "tunes org/other, and " + PHI),
        (replace(MADE, digest=""), "AdapterNotServed", "which image it has made"),
    ],
)
def test_a_tuning_workspace_is_waited_for(
    world: World, tuned: Tuned | None, reason: str, said: str
) -> None:
    world.tuned = {FACTS: tuned} if tuned else {}
    told = world.reconcile()
    world.settle()
    assert kinds(world) == ["ControllerRevision"]
    status, why, message = ready(world)
    assert (status, why) == ("False", reason) and said in message
    assert reasons(told).count(reason) == 1
    world.tuned = {FACTS: MADE}
    world.settle()
    assert kinds(world) == SERVED


def test_what_was_made_is_pinned(world: World) -> None:
    world.tuned = {FACTS: MADE}
    world.settle()
    world.serve(**done(good("facts")))
    world.settle()
    assert adapters(world)["facts"] == {
        "name": "facts",
        "workspace": "facts",
        "image": f"registry.invalid/a/facts@{DIGEST}",
        "pullSecret": "push",
        "digest": DIGEST,
        "served": True,
    }
    made = len(world.done)
    # Run again with another outcome, failed, deleted: what is served goes on.
    changed = (replace(MADE, digest=OTHER), replace(MADE, outcome="Failed", digest=""), None)
    for tuned in changed:
        world.tuned = {FACTS: tuned} if tuned else {}
        world.settle()
        assert ready(world)[0] == "True"
    assert len(world.done) == made


def test_one_that_follows_is_replaced_and_says_so(world: World) -> None:
    world.annotate("tunery.sh/follow", "true")
    world.tuned = {FACTS: MADE}
    world.settle()
    world.serve(**done(good("facts")))
    world.settle()
    world.tuned = {FACTS: replace(MADE, digest=OTHER)}
    first, second = world.reconcile(), world.reconcile()
    events = [*first.events, *second.events]
    [event] = [e for e in events if e.reason == "ServingReplaced"]
    assert [e.reason for e in events] == ["ServingReplaced"]
    assert "adapter facts changed" in event.message and "nothing answers" in event.message
    world.settle()
    # The pod is still the one of before.
    assert "0 of 1 pods serve the change" in ready(world)[2]
    assert world.status["state"] == "NotReady"
    world.serve(**done(good("facts", OTHER)))
    world.settle()
    assert ready(world)[0] == "True"
    assert adapters(world)["facts"]["image"].endswith(OTHER)
    assert kinds(world) == SERVED  # the plan of before is gone


def test_a_bad_adapter_is_named_and_the_others_are_served(catalog: Catalog) -> None:
    world = serving(catalog, BY_NAME, BY_IMAGE)
    world.tuned = {FACTS: MADE}
    world.settle()
    bad = AdapterWords(name="style", kind="BadAdapter", sentence="style: rank 5 does not fit")
    world.serve(**done(good("facts"), bad))
    told = world.reconcile()
    status, reason, message = ready(world)
    assert (status, reason) == ("False", "AdapterNotServed")
    assert message == "style: rank 5 does not fit; served: phi-3, facts"
    assert world.status["state"] == "NotReady"
    assert [e.type for e in told.events if e.reason == "AdapterNotServed"] == ["Warning"]
    assert adapters(world)["facts"]["served"] and not adapters(world)["style"]["served"]
    assert adapters(world)["style"]["reason"] == "BadAdapter"


def test_one_source_that_is_gone_does_not_stop_the_other(catalog: Catalog) -> None:
    world = serving(catalog, BY_NAME, BY_IMAGE).settle()
    assert kinds(world) == SERVED
    world.serve(**done(good("style")))
    world.settle()
    assert ready(world)[1] == "AdapterNotServed" and "no Workspace facts" in ready(world)[2]
    assert adapters(world)["facts"]["reason"] == "NoSource"


def test_a_change_that_is_wrong_stops_nothing(world: World) -> None:
    world.tuned = {FACTS: MADE}
    world.settle()
    world.serve(**done(good("facts")))
    world.settle()
    made = len(world.done)
    twice = {"source": {"name": "facts", "image": "registry.invalid/x:1"}}
    world.edit("inference.adapters", [BY_NAME, twice])
    world.settle()
    status, reason, message = ready(world)
    assert (status, reason) == ("False", "Refused")
    assert "what is served goes on" in message and "Duplicate adapter" in message
    assert len(world.done) == made and world.status["state"] == "NotReady"
    world.edit("inference.adapters", [BY_NAME])
    world.settle()
    assert ready(world)[0] == "True" and world.status["run"]["revision"] == 1


@pytest.mark.parametrize("kind", ["StatefulSet", "Service"])
def test_a_name_that_is_taken_is_left_alone(world: World, kind: str) -> None:
    theirs = {"kind": kind, "metadata": {"name": "serve-phi-3", "uid": "theirs"}}
    world.objects[kind, "serve-phi-3"] = theirs
    world.settle()
    assert world.done == []
    assert ready(world)[1] == "NameTaken" and kind in ready(world)[2]
    del world.objects[kind, "serve-phi-3"]
    world.tuned = {FACTS: MADE}
    assert kinds(world.settle()) == SERVED


def test_kaitos_own_set_is_replaced(world: World) -> None:
    owner = {"uid": "workspace-uid", "controller": True}
    old = {"name": "serve-phi-3", "uid": "old", "ownerReferences": [owner]}
    world.objects["StatefulSet", "serve-phi-3"] = {"kind": "StatefulSet", "metadata": old}
    world.tuned = {FACTS: MADE}
    world.settle()
    assert world.objects["StatefulSet", "serve-phi-3"]["metadata"]["uid"] != "old"


def test_what_a_hand_deletes_comes_back(world: World) -> None:
    world.tuned = {FACTS: MADE}
    world.settle()
    for kind in ("Service", "ConfigMap", "StatefulSet"):
        world.remove(kind)
        assert kinds(world.settle()) == SERVED


def test_a_load_balancer_is_a_change_of_the_service_alone(world: World) -> None:
    world.tuned = {FACTS: MADE}
    world.settle()
    before = world.objects["StatefulSet", "serve-phi-3"]
    world.annotate("kaito.sh/enablelb", "True")
    world.settle()
    assert world.objects["Service", "serve-phi-3"]["spec"]["type"] == "LoadBalancer"
    assert world.objects["StatefulSet", "serve-phi-3"] is before


def test_an_image_that_a_node_cannot_mount_is_pulled(catalog: Catalog) -> None:
    world = serving(catalog, BY_NAME, BY_IMAGE)
    world.nodes = (replace(world.nodes[0], kubelet="v1.36.0", runtime="containerd://2.4.0"),)
    world.tuned = {FACTS: MADE}
    world.settle()
    image = "registry.invalid/adapters/style:1"
    volumes = world.objects["StatefulSet", "serve-phi-3"]["spec"]["template"]["spec"]["volumes"]
    assert {"reference": image} in [v.get("image") for v in volumes]
    waiting = {"reason": "ErrImagePull", "message": f'failed to pull "{image}": not found'}
    world.serve(ready=False, state={"waiting": waiting})
    world.settle()
    assert adapters(world)["style"]["pulled"]
    spec = world.objects["StatefulSet", "serve-phi-3"]["spec"]["template"]["spec"]
    mounted = [v["image"]["reference"] for v in spec["volumes"] if "image" in v]
    assert mounted == [f"registry.invalid/a/facts@{DIGEST}"]
    # Remembered once the pod that told it is gone.
    world.serve(ready=False)
    done = len(world.done)
    world.settle()
    assert not any(isinstance(action, Apply) for action in world.done[done:])


def test_nodes_are_waited_for(world: World) -> None:
    nodes, world.nodes = world.nodes, ()
    world.tuned = {FACTS: MADE}
    world.settle()
    assert kinds(world) == ["ControllerRevision"]
    world.nodes = nodes
    assert kinds(world.settle()) == SERVED


def test_a_crash_after_any_write_ends_in_the_same(catalog: Catalog) -> None:
    def life(cut: int | None) -> Object:
        world = serving(catalog)
        world.tuned = {FACTS: MADE}
        world.reconcile(cut)
        return world.settle().lasting()

    whole = life(None)
    assert all(life(cut) == whole for cut in range(8))


def test_the_users_own_template_is_served(catalog: Catalog) -> None:
    template = {"spec": {"containers": [{"name": "mine", "image": "registry.invalid/mine:1"}]}}
    body = {"inference": {"template": template}}
    world = World({**inference(), **body}, catalog).settle()
    assert kinds(world) == ["ControllerRevision", "Service", "Service", "StatefulSet"]
    world.serve()
    world.settle()
    assert ready(world)[0] == "True" and "snapshot" not in world.status["run"]


@pytest.mark.parametrize(
    "adapters",
    [
        None,
        "abc",
        7,
        [1, "x", None],
        [{"name": 5, "image": [], "workspace": {}}],
        [{"name": "facts", "workspace": "facts", "image": "no digest"}],
        [{"name": "facts", "workspace": "facts", "image": ""}, {"pulled": "yes"}],
    ],
)
def test_a_status_that_a_hand_has_written_is_put_right(world: World, adapters: Any) -> None:
    world.tuned = {FACTS: MADE}
    world.body["status"] = {"adapters": adapters, "state": "NotReady", "run": 3}
    world.settle()
    assert kinds(world) == SERVED
    assert world.status["adapters"][0]["image"] == f"registry.invalid/a/facts@{DIGEST}"
    world.body["inference"]["adapters"] = "nonsense"
    world.body["status"]["adapters"] = adapters
    world.settle()
    assert ready(world)[1] == "Refused"


def test_several_pods_are_replaced_one_after_the_other(catalog: Catalog) -> None:
    world = serving(catalog, BY_IMAGE, **{"resource.count": 2})
    world.nodes = (world.nodes[0], replace(world.nodes[0], name="gpu-2"))
    world.settle()
    assert world.objects["StatefulSet", "serve-phi-3"]["spec"]["replicas"] == 2
    world.serve(**done(good("style")))
    world.settle()
    assert ready(world)[0] == "True" and world.status["targetNodeCount"] == 2
    old = world.pods[0]
    world.edit("inference.adapters", [{**BY_IMAGE, "strength": "0.5"}])
    told = world.reconcile()
    [event] = [e for e in told.events if e.reason == "ServingReplaced"]
    assert "one after the other" in event.message
    world.serve(**done(good("style")))
    world.pods[0] = old
    world.settle()
    assert "1 of 2 pods serve the change" in ready(world)[2]
    assert world.status["state"] == "NotReady"
