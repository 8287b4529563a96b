"""The node's images: what it has is not brought again, what others left is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.kube import BUSYBOX, Kube, Machine, pod

from cluster import images, store
from cluster.commands import run

NAME = "localhost/test-store:1"


@pytest.fixture
def built(machine: Machine, tmp_path: Path) -> Iterator[str]:
    """An image of one small file on top of busybox, known to buildah alone."""
    (tmp_path / "word.txt").write_text("first\n")
    recipe = tmp_path / "Containerfile"
    recipe.write_text(f"FROM {BUSYBOX}\nCOPY word.txt /\n")
    images.build(machine.layout, recipe, tmp_path, NAME)
    yield NAME
    images.remove(machine.layout, NAME)


def blobs(machine: Machine) -> set[str]:
    return set(run(store.ctr(machine.layout, machine.pid, "content", "ls", "--quiet")).split())


def names(machine: Machine) -> set[str]:
    return set(run(store.ctr(machine.layout, machine.pid, "images", "ls", "--quiet")).split())


def test_only_the_layer_that_changed_is_brought_and_the_pod_has_it(
    namespace: Kube, machine: Machine, built: str
) -> None:
    before = blobs(machine)
    store.load(machine.layout, machine.pid, built)
    # At most: the layer, the configuration and the manifest; an index names them to containerd.
    assert 0 < len(blobs(machine) - before) <= 4
    namespace.apply(pod("reader", "cat", "/word.txt", container={"image": built}))
    namespace.wait("pod/reader", "jsonpath={.status.phase}=Succeeded")
    assert namespace("logs", "reader") == "first\n"


def test_images_of_registries_are_forgotten_and_ours_stay(machine: Machine, built: str) -> None:
    store.load(machine.layout, machine.pid, built)
    foreign = "registry.tunery.test/yesterday:1"
    run(store.ctr(machine.layout, machine.pid, "images", "tag", built, foreign))
    assert foreign in names(machine)
    store.forget_others(machine.layout, machine.pid)
    assert names(machine) >= {BUSYBOX, built}
    assert foreign not in names(machine)
