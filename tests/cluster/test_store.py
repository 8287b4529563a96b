"""The node's images: what it has is not brought again, what others left is forgotten."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.kube import BUSYBOX, Kube, Machine, pod
from rig.second import beside

from cluster import control, images, processes, store, up
from cluster import machine as namespaces
from cluster.commands import run
from cluster.layout import Layout


@pytest.fixture
def word() -> str:
    """One no node has seen: kept images outlive tests and clusters."""
    return uuid.uuid4().hex


@pytest.fixture
def built(machine: Machine, tmp_path: Path, word: str) -> Iterator[str]:
    """An image of one small file on top of busybox, known to buildah alone."""
    name = f"localhost/test-store:{word}"
    (tmp_path / "word.txt").write_text(f"{word}\n")
    recipe = tmp_path / "Containerfile"
    recipe.write_text(f"FROM {BUSYBOX}\nCOPY word.txt /\n")
    images.build(machine.layout, recipe, tmp_path, name)
    yield name
    images.remove(machine.layout, name)
    run(store.ctr(machine.layout, machine.pid, "images", "rm", name))


@pytest.fixture
def spare(machine: Machine, tmp_path: Path) -> Iterator[Layout]:
    """The folders of another machine."""
    layout = beside(tmp_path / "spare")
    yield layout
    namespaces.destroy(layout)


def with_containerd(layout: Layout) -> Machine:
    """A machine that runs containerd alone."""
    pid = up.made_anew(layout)
    processes.start(layout, pid, control.daemons(layout)["containerd"])
    control.wait_for_containerd(layout, pid)
    return Machine(layout, pid)


def blobs(machine: Machine) -> set[str]:
    return set(run(store.ctr(machine.layout, machine.pid, "content", "ls", "--quiet")).split())


def names(machine: Machine) -> set[str]:
    return set(run(store.ctr(machine.layout, machine.pid, "images", "ls", "--quiet")).split())


@pytest.mark.alone
def test_only_the_layer_that_changed_is_brought_and_the_pod_has_it(
    namespace: Kube, machine: Machine, built: str, word: str
) -> None:
    before = blobs(machine)
    store.load(machine.layout, machine.pid, built)
    # At most: the layer, the configuration and the manifest; an index names them to containerd.
    assert 0 < len(blobs(machine) - before) <= 4
    namespace.apply(pod("reader", "cat", "/word.txt", container={"image": built}))
    namespace.wait("pod/reader", "jsonpath={.status.phase}=Succeeded")
    assert namespace("logs", "reader") == f"{word}\n"


@pytest.mark.alone
def test_images_of_registries_are_forgotten_and_ours_stay(machine: Machine, built: str) -> None:
    store.load(machine.layout, machine.pid, built)
    foreign = "registry.tunery.test/yesterday:1"
    run(store.ctr(machine.layout, machine.pid, "images", "tag", built, foreign))
    assert foreign in names(machine)
    store.forget_images(machine.layout, machine.pid)
    assert names(machine) >= {BUSYBOX, built}
    assert foreign not in names(machine)


def test_the_next_machine_has_the_images_and_none_of_the_containers(spare: Layout) -> None:
    first = with_containerd(spare)
    store.load(spare, first.pid, str(images.busybox(spare)))
    run(store.ctr(spare, first.pid, "containers", "create", BUSYBOX, "left"))
    namespaces.destroy(spare)
    second = with_containerd(spare)
    assert BUSYBOX in names(second)
    assert store.forget_containers(spare, second.pid)
    assert not store.forget_containers(spare, second.pid)
    assert BUSYBOX in names(second)


def test_one_machine_at_a_time_has_the_kept_images(spare: Layout) -> None:
    with_containerd(spare)
    with store.claimed(spare) as kept:
        assert kept is None
    namespaces.destroy(spare)
    with store.claimed(spare) as kept:
        assert kept is not None
