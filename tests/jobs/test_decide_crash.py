"""The operator may be killed between any two of its writes: the objects in the end are the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.manifests import tuning
from rig.world import World, node

from jobs import marks
from presets import Catalog, load

IMAGE = "registry.invalid/adapters/phi-3"
Happening = Callable[[World], None]


def edit(tag: int) -> Happening:
    return lambda world: world.edit("tuning.output.image", f"{IMAGE}:{tag}")


def configure(steps: int) -> Happening:
    text = f"training_config: {{TrainingArguments: {{max_steps: {steps}}}}}"
    return lambda world: world.configs.update({"mine": text})


def retry(value: int) -> Happening:
    return lambda world: world.annotate(marks.RETRY, str(value))


def end(succeeded: bool) -> Happening:
    return lambda world: world.end_job(succeeded)


def remove(kind: str) -> Happening:
    return lambda world: world.remove(kind)


def scribble(key: str) -> Happening:
    def call(world: World) -> None:
        if world.job is not None:
            world.job["metadata"]["labels"][key] = "scribbled"

    return call


def nodes(ready: bool) -> Happening:
    def call(world: World) -> None:
        world.nodes = (node(ready=ready),)

    return call


def break_config(world: World) -> None:
    world.configs["mine"] = "training_config: {Nonsense: {}}"


def forget_config(world: World) -> None:
    world.configs.clear()


HAPPENINGS = st.one_of(
    st.builds(edit, st.integers(1, 3)),
    st.builds(configure, st.integers(1, 3)),
    st.builds(retry, st.integers(1, 2)),
    st.builds(end, st.booleans()),
    st.builds(remove, st.sampled_from(["Job", "ConfigMap", "ControllerRevision"])),
    st.builds(scribble, st.sampled_from([marks.RUN, marks.WORKSPACE])),
    st.builds(nodes, st.booleans()),
    st.sampled_from([break_config, forget_config]),
)
CUTS = st.lists(st.integers(0, 6), max_size=4)
"""After how many writes the operator is killed, one life after the other."""


@pytest.fixture(scope="module")
def known() -> Catalog:
    return load()


def fresh(known: Catalog) -> World:
    world = World(tuning({"tuning.config": "mine"}), known)
    configure(1)(world)
    return world


@settings(deadline=None, max_examples=60)
@given(story=st.lists(st.tuples(HAPPENINGS, CUTS), min_size=1, max_size=6), first=CUTS)
def test_killed_anywhere_the_end_is_the_same(
    known: Catalog, story: list[tuple[Happening, list[int]]], first: list[int]
) -> None:
    whole, killed = fresh(known), fresh(known)
    for happening, cuts in [(lambda _: None, first), *story]:
        happening(whole)
        happening(killed)
        whole.settle()
        for cut in cuts:
            killed.reconcile(cut)
            killed.tick()
        killed.settle()
        assert killed.lasting() == whole.lasting()


@settings(deadline=None, max_examples=60)
@given(story=st.lists(HAPPENINGS, min_size=1, max_size=8))
def test_it_comes_to_rest_and_writes_little(known: Catalog, story: list[Happening]) -> None:
    world = fresh(known)
    for happening in story:
        happening(world)
        world.settle().done.clear()
        before = world.lasting()
        world.reconcile()
        assert world.done == []
        assert world.lasting() == before


def test_one_life_is_few_writes(known: Catalog) -> None:
    world = fresh(known).settle()
    world.end_job(True)
    world.settle()
    assert len(world.done) == 4
