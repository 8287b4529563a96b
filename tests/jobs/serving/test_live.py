"""Live adapters: the pods stay, their plan changes, they are told, and say what they have."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from rig.manifests import inference
from rig.world import World

from jobs.decision import Patch
from jobs.seen import Tuned
from jobs.serving.said import report
from presets import Catalog
from serving.lastwords import AdapterWords, ServeWords
from serving.plan import ServePlan
from tests.jobs.serving.test_decide import FACTS, MADE, OTHER, adapters, ready, reasons

LIVE = {"tunery.sh/live-adapters": "true"}
BY_NAME = {"source": {"name": "facts", "workspace": "facts"}}
VOLUME = {"persistentVolumeClaim": {"claimName": "a"}}
Object = dict[str, Any]


def by_image(name: str, tag: str = "1", **more: Any) -> Object:
    return {"source": {"name": name, "image": f"registry.invalid/a/{name}:{tag}", **more}}


class Live:
    """A serving with live adapters whose pod does what it is asked."""

    def __init__(self, catalog: Catalog, *listed: Object, **annotations: str) -> None:
        edits = {
            "inference.adapters": list(listed),
            "metadata.annotations": {**LIVE, **annotations},
        }
        self.world = World(inference(edits), catalog)
        node = self.world.nodes[0]
        self.world.nodes = (replace(node, labels={**node.labels, "app": "tune-phi-3"}),)

    @property
    def plan(self) -> ServePlan:
        plans = [o for (kind, _), o in self.world.objects.items() if kind == "ConfigMap"]
        return ServePlan.model_validate_json(plans[-1]["data"]["plan.json"])

    @property
    def set(self) -> Object:
        (found,) = (o for (kind, _), o in self.world.objects.items() if kind == "StatefulSet")
        return copy.deepcopy(found)

    def words(self, **more: Any) -> ServeWords:
        """What a pod says that has all of the plan."""
        plan = self.plan
        listed = tuple(AdapterWords(name=a.name, asked=a.asked(), rank=8) for a in plan.adapters)
        names = (plan.model.name, *(a.name for a in plan.adapters))
        given = {"models": names, "adapters": listed, "adapter_set": plan.adapter_set}
        return ServeWords(**{"state": "done", **given, **more})

    def start(self) -> None:
        """Make everything; the pod is ready and has said so."""
        self.world.settle()
        said = self.words().encoded().decode()
        self.world.pods = [self._pod(said)]
        self.world.settle()
        self.say(self.words())

    def _pod(self, said: str) -> Object:
        labels = self.set["spec"]["template"]["metadata"]["labels"]
        name = self.world.body["metadata"]["name"]
        running = {"state": {"running": {"startedAt": "2026-11-28T00:00:00Z"}}}
        return {
            "metadata": {"name": f"{name}-0", "uid": "pod-uid", "labels": labels},
            "spec": {
                "initContainers": [
                    {"name": "prepare"},
                    {"name": "live", "restartPolicy": "Always"},
                ],
                "containers": [{"name": name}],
            },
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.7",
                "conditions": [{"type": "Ready", "status": "True"}],
                "initContainerStatuses": [
                    {"name": "prepare", "state": {"terminated": {"exitCode": 0, "message": said}}},
                    {"name": "live", **running},
                ],
                "containerStatuses": [{"name": name, **running}],
            },
        }

    def say(self, words: ServeWords) -> None:
        """What the server answers when it is asked."""
        (life,) = self.world.decide().adapters_of or {"pod-uid/2026-11-28T00:00:00Z": ""}
        self.world.served = {life: report(words.encoded().decode())}
        self.world.settle()

    def patches(self) -> list[Patch]:
        """Of the pod."""
        return [a for a in self.world.done if isinstance(a, Patch) and a.ref.kind == "Pod"]


@pytest.fixture
def live(catalog: Catalog) -> Live:
    made = Live(catalog, BY_NAME, by_image("style"))
    made.world.tuned[FACTS] = MADE
    made.start()
    return made


def test_a_sidecar_keeps_what_the_server_has(live: Live) -> None:
    spec = live.set["spec"]["template"]["spec"]
    prepare, keeper = spec["initContainers"]
    assert (prepare["name"], keeper["name"], keeper["restartPolicy"]) == (
        "prepare",
        "live",
        "Always",
    )
    assert keeper["args"][:2] == ["live", "/etc/tunery/plan.json"]
    names = {mount["name"] for mount in keeper["volumeMounts"]}
    assert {"plan", "adapters", "ready"} <= names and "hub" not in names
    (server,) = spec["containers"]
    assert {"name": "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "value": "1"} in server["env"]
    assert live.plan.live and all(one.path is None for one in live.plan.adapters)
    assert ready(live.world)[:2] == ("True", "WorkspaceInferenceStatusSuccess")
    assert live.world.decide().adapters_of == {}


def test_another_adapter_changes_the_plan_and_no_pod(live: Live) -> None:
    world, before = live.world, live.set
    world.edit("inference.adapters", [BY_NAME, by_image("style", "2"), by_image("more")])
    decision = world.decide()
    assert "AdaptersChanged" in reasons(decision)
    (event,) = (e for e in decision.events if e.reason == "AdaptersChanged")
    assert "more added, adapter style changed: the running server takes" in event.message
    world.settle()
    assert live.set == before
    assert [one.name for one in live.plan.adapters] == ["facts", "style", "more"]
    (patch,) = live.patches()
    assert patch.patch["metadata"]["annotations"] == {"tunery.sh/adapters": live.plan.adapter_set}
    assert patch.patch["metadata"]["uid"] == "pod-uid"
    status, reason, message = ready(world)
    assert (status, reason) == ("False", "WaitingForAdapter")
    assert "adapter style is not served yet; adapter more" in message
    told = adapters(world)
    assert (told["facts"]["served"], told["style"]["served"]) == (True, False)
    (url,) = world.decide().adapters_of.values()
    assert url == "http://10.0.0.7:5000/adapters"
    live.say(live.words())
    assert ready(world)[0] == "True" and "facts, style, more" in ready(world)[2]
    assert world.decide().adapters_of == {} and len(live.patches()) == 1


def test_another_strength_is_another_set(live: Live) -> None:
    world, before = live.world, live.plan
    weaker = {**by_image("style"), "strength": "0.5"}
    world.edit("inference.adapters", [BY_NAME, weaker])
    (event,) = (e for e in world.decide().events if e.reason == "AdaptersChanged")
    assert event.message.startswith("adapter style changed: ")
    world.settle()
    assert live.plan.adapter_set != before.adapter_set
    assert adapters(world)["style"]["strength"] == "0.5"
    assert not adapters(world)["style"]["served"] and adapters(world)["facts"]["served"]


def test_a_followed_tuning_is_taken_over(live: Live) -> None:
    world = live.world
    world.annotate("tunery.sh/follow", "true")
    world.settle()
    live.say(live.words())
    before = live.set
    world.tuned[FACTS] = replace(MADE, digest=OTHER)
    world.settle()
    assert live.set == before and str(live.plan.adapters[0].image).endswith(OTHER)


def test_a_rank_that_the_server_cannot_hold_replaces_the_pod(live: Live) -> None:
    world, before = live.world, live.set
    world.edit("inference.adapters", [by_image("big")])
    world.settle()
    words = live.words(restart="adapter big has rank 64, and the server was started for 16")
    live.say(words)
    assert live.set["metadata"]["labels"] != before["metadata"]["labels"]
    assert live.set["metadata"]["annotations"]["tunery.sh/digest"] == live.plan.adapter_set
    made = live.set
    world.edit("inference.adapters", [by_image("small")])
    world.settle()
    assert live.set == made, "what it was replaced for once stays"


@pytest.mark.parametrize(
    "change",
    [
        [by_image("style", imagePullSecrets=["another"])],
        [
            {
                "source": {
                    "name": "style",
                    "volumeSource": {"persistentVolumeClaim": {"claimName": "a"}},
                }
            }
        ],
    ],
    ids=["a secret that the pod lacks", "a volume that it lacks"],
)
def test_what_is_mounted_replaces_the_pod(live: Live, change: list[Object]) -> None:
    before = live.set
    live.world.edit("inference.adapters", change)
    live.world.settle()
    assert live.set["metadata"]["labels"] != before["metadata"]["labels"]


def test_another_order_of_the_same_secrets_replaces_nothing(catalog: Catalog) -> None:
    one, two = (by_image(name, imagePullSecrets=[name]) for name in ("one", "two"))
    live = Live(catalog, one, two)
    live.start()
    before = live.set
    live.world.edit("inference.adapters", [two, one])
    live.world.settle()
    assert live.set == before


def test_what_waits_keeps_nobody_else_waiting(live: Live) -> None:
    world = live.world
    world.tuned["default", "later"] = Tuned(tunes=True)
    later = {"source": {"name": "later", "workspace": "later"}}
    world.edit("inference.adapters", [BY_NAME, by_image("new"), later])
    world.settle()
    assert [one.name for one in live.plan.adapters] == ["facts", "new"]
    assert ready(world)[1] == "WaitingForAdapter" and "later" in ready(world)[2]


def test_when_nothing_is_left_to_serve_the_old_set_goes_on(live: Live) -> None:
    before = live.plan
    live.world.edit("inference.adapters", [{"source": {"name": "x", "workspace": "absent"}}])
    live.world.settle()
    assert live.plan == before
    assert "there is no Workspace absent" in ready(live.world)[2]


def test_a_change_that_is_refused_reaches_no_pod(live: Live) -> None:
    before = live.plan
    live.world.edit("inference.adapters", [by_image("style", "2"), by_image("style", "3")])
    live.world.settle()
    assert live.plan == before and live.patches() == []


def test_an_operator_that_starts_takes_nothing_back(live: Live) -> None:
    world = live.world
    world.edit("inference.adapters", [by_image("new")])
    world.settle()
    live.say(live.words())
    told = world.status
    world.served = {}
    world.settle()
    assert world.status["adapters"] == told["adapters"]
    assert ready(world)[0] == "True"
    assert len(world.decide().adapters_of) == 1, "and asks"


def test_one_that_the_server_refuses_is_named(live: Live) -> None:
    world = live.world
    bad = AdapterWords(
        name="style",
        asked=live.plan.adapters[1].asked(),
        kind="BadAdapter",
        sentence="adapter style: the server says 500: no",
    )
    live.say(live.words(adapters=(live.words().adapters[0], bad), models=("phi-3", "facts")))
    assert ready(world)[:2] == ("False", "AdapterNotServed")
    assert "adapter style: the server says 500: no" in ready(world)[2]
    assert adapters(world)["style"]["reason"] == "BadAdapter"
    assert world.decide().adapters_of == {}, "nobody expects it to change"


def test_a_pod_that_can_prepare_nothing_says_why(live: Live) -> None:
    world, before = live.world, live.words().adapters
    world.edit("inference.adapters", [BY_NAME, by_image("style", "2")])
    world.settle()
    full = {"kind": "Unavailable", "sentence": "no space left on device"}
    live.say(live.words(state="failed", adapters=before, **full))
    told = adapters(world)
    assert told["facts"]["served"] and not told["style"]["served"]
    assert told["style"]["message"] == "adapter style: no space left on device"
    assert len(world.decide().adapters_of) == 1


def test_what_could_not_be_fetched_is_asked_about_again(live: Live) -> None:
    away = AdapterWords(
        name="style",
        asked=live.plan.adapters[1].asked(),
        kind="Unavailable",
        sentence="adapter style: the registry does not answer",
    )
    live.say(live.words(adapters=(live.words().adapters[0], away)))
    assert adapters(live.world)["style"]["reason"] == "Unavailable"
    assert len(live.world.decide().adapters_of) == 1


@pytest.mark.parametrize("value", ["yes", ""])
def test_the_annotation_is_true_or_false(catalog: Catalog, value: str) -> None:
    live = Live(catalog, by_image("style"), **{"tunery.sh/live-adapters": value})
    live.world.settle()
    assert ready(live.world)[1] == "Refused" and 'must be "true" or "false"' in ready(live.world)[2]


def test_transformers_has_no_live_adapters(catalog: Catalog) -> None:
    live = Live(catalog, by_image("style"), **{"kaito.sh/runtime": "transformers"})
    live.world.settle()
    assert "only vLLM can change its adapters" in ready(live.world)[2]
