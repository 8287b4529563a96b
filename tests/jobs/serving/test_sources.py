"""Where adapters come from: images, volumes, and tuning Workspaces that are waited for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rig.manifests import inference

from jobs.seen import Tuned
from jobs.serving.sources import Pin, Sources, Surroundings, resolve
from jobs.workspace import parse
from presets import Catalog

IMAGE = "registry.invalid/adapters/phi-3:1"
PHI_3 = "microsoft/Phi-3-mini-128k-instruct"
DIGEST = "sha256:" + "d" * 64
PINNED = f"registry.invalid/adapters/phi-3@{DIGEST}"
CLAIM = {"persistentVolumeClaim": {"claimName": "mine"}}
DONE = Tuned(
    tunes=True,
    outcome="Succeeded",
    image=IMAGE,
    digest=DIGEST,
    base_model=PHI_3,
    base_revision="c" * 40,
    push_secret="push",
)
PIN = Pin("facts", "tuned", PINNED, "c" * 40, "push")
AWAY = ("team-a", "tuned")
HERE = ("default", "tuned")


def made(
    catalog: Catalog, around: Surroundings, *sources: dict[str, Any], **annotations: str
) -> Sources:
    adapters = [{"source": {"name": "facts", **source}} for source in sources]
    marks = {f"tunery.sh/{key}": value for key, value in annotations.items()}
    body = inference({"inference.adapters": adapters, "metadata.annotations": marks})
    workspace, problems = parse(body)
    assert workspace is not None and problems == ()
    preset = catalog.preset("phi-3-mini-128k-instruct")
    assert preset is not None
    return resolve(workspace, preset, around)


def test_an_image_is_pulled_where_it_cannot_be_mounted(catalog: Catalog) -> None:
    source = {"image": IMAGE, "imagePullSecrets": ["a", "b"]}
    found = made(catalog, Surroundings({}), source)
    (plan,) = found.plans
    assert (plan.image, plan.path, plan.strength) == (IMAGE, None, 1.0)
    assert (found.mounts, found.pull_secrets) == ((), ("a", "b"))


def test_an_image_is_mounted_where_it_can(catalog: Catalog) -> None:
    found = made(catalog, Surroundings({}, image_volumes=True), {"image": IMAGE})
    (plan,), (mount,) = found.plans, found.mounts
    assert (plan.image, plan.path) == (None, "/sources/facts")
    assert mount.volume() == {"name": "adapter-0", "image": {"reference": IMAGE}}
    assert mount.mount() == {"name": "adapter-0", "mountPath": "/sources/facts", "readOnly": True}
    assert (mount.prepare, mount.main) == (True, False)
    assert found.mounted_images == (IMAGE,)


def test_an_image_that_a_kubelet_could_not_mount_is_pulled_instead(catalog: Catalog) -> None:
    """One bad image volume holds up the whole pod; `prepare` leaves one adapter out."""
    around = Surroundings({}, image_volumes=True, unmountable=frozenset([IMAGE]))
    (plan,) = made(catalog, around, {"image": IMAGE}).plans
    assert plan.image == IMAGE


def test_a_volume_is_mounted_as_it_is(catalog: Catalog) -> None:
    found = made(catalog, Surroundings({}), {"volumeSource": CLAIM})
    assert found.plans[0].path == "/sources/facts"
    assert found.mounts[0].volume() == {"name": "adapter-0", **CLAIM}
    assert found.pull_secrets == ()


def test_a_tuning_workspace_gives_its_adapter_by_digest(catalog: Catalog) -> None:
    found = made(catalog, Surroundings({HERE: DONE}), {"workspace": "tuned"})
    assert found.plans[0].image == PINNED
    assert found.pins == (PIN,)
    assert found.pull_secrets == ("push",)
    assert (found.waiting, found.problems) == ((), ())


def test_secrets_that_the_user_names_go_first(catalog: Catalog) -> None:
    source = {"workspace": "tuned", "imagePullSecrets": ["own"]}
    assert made(catalog, Surroundings({HERE: DONE}), source).pull_secrets == ("own",)


def test_a_tuning_that_has_not_finished_is_waited_for(catalog: Catalog) -> None:
    running = Surroundings({HERE: Tuned(tunes=True)})
    found = made(catalog, running, {"workspace": "tuned"})
    assert found.waiting == ("the tuning of tuned (adapter facts) has not finished",)
    assert (found.plans, found.problems) == ((), ())


def test_what_is_served_stays_while_it_is_tuned_again_or_gone(catalog: Catalog) -> None:
    newer = replace(DONE, digest="sha256:" + "e" * 64)
    for around in ({HERE: Tuned(tunes=True)}, {HERE: newer}, {}):
        found = made(catalog, Surroundings(around, pins=(PIN,)), {"workspace": "tuned"})
        assert found.plans[0].image == PINNED
        assert (found.pins, found.waiting, found.problems) == ((PIN,), (), ())
        assert found.pull_secrets == ("push",)


def test_a_newer_adapter_is_served_when_that_is_asked_for(catalog: Catalog) -> None:
    newer = Surroundings({HERE: replace(DONE, digest="sha256:" + "e" * 64)}, pins=(PIN,))
    found = made(catalog, newer, {"workspace": "tuned"}, follow="true")
    assert found.plans[0].image == PINNED.replace("d" * 64, "e" * 64)
    running = Surroundings({HERE: Tuned(tunes=True)}, pins=(PIN,))
    assert made(catalog, running, {"workspace": "tuned"}, follow="true").plans[0].image == PINNED


def test_a_pin_is_of_one_adapter_and_one_workspace(catalog: Catalog) -> None:
    other = Surroundings({}, pins=(replace(PIN, workspace="other"), replace(PIN, name="style")))
    assert made(catalog, other, {"workspace": "tuned"}).plans == ()


BAD: list[tuple[dict[tuple[str, str], Tuned], str, str]] = [
    ({}, "tuned", "there is no Workspace tuned in namespace default"),
    ({HERE: Tuned(tunes=False)}, "tuned", "serves, it does not tune"),
    ({HERE: replace(DONE, outcome="Failed")}, "tuned", "the tuning of tuned has failed"),
    (
        {HERE: replace(DONE, base_model="microsoft/phi-4")},
        "tuned",
        f"tunes microsoft/phi-4, and {PHI_3} is served",
    ),
    ({HERE: replace(DONE, digest="")}, "tuned", "does not say which image it has made"),
    ({AWAY: DONE}, "team-a/tuned", "there is no Workspace tuned in namespace team-a"),
    (
        {AWAY: replace(DONE, image="", volume=CLAIM, shared_with=("default",))},
        "team-a/tuned",
        "keeps its adapter on a volume of its namespace",
    ),
]


@pytest.mark.parametrize(("tuned", "name", "sentence"), BAD)
def test_what_cannot_be_served_is_named_and_the_others_are_served(
    catalog: Catalog, tuned: dict[tuple[str, str], Tuned], name: str, sentence: str
) -> None:
    good = {"name": "style", "image": IMAGE}
    found = made(catalog, Surroundings(tuned), {"workspace": name}, good)
    (problem,) = found.problems
    assert problem.path == "adapter facts" and sentence in problem.what and problem.do
    assert [plan.name for plan in found.plans] == ["style"]


@pytest.mark.parametrize("shared", [("default",), ("x", "default"), ("*",)])
def test_another_namespace_must_have_shared_its_adapter(
    catalog: Catalog, shared: tuple[str, ...]
) -> None:
    around = Surroundings({AWAY: replace(DONE, shared_with=shared)})
    found = made(catalog, around, {"workspace": "team-a/tuned"})
    assert found.plans[0].image == PINNED
    assert found.pull_secrets == (), "its Secrets are not here"


def test_what_is_not_shared_is_told_as_what_is_not_there(catalog: Catalog) -> None:
    absent = made(catalog, Surroundings({}), {"workspace": "team-a/tuned"}).problems
    hidden = made(catalog, Surroundings({AWAY: DONE}), {"workspace": "team-a/tuned"}).problems
    assert absent == hidden
    assert "tunery.sh/share-with: default" in absent[0].do


def test_an_adapter_on_a_volume_is_mounted_from_it(catalog: Catalog) -> None:
    on_volume = Surroundings({HERE: replace(DONE, image="", volume=CLAIM)})
    found = made(catalog, on_volume, {"workspace": "tuned"})
    assert found.mounts[0].volume() == {"name": "adapter-0", **CLAIM}
