"""What makes a serving another one, and where images can be mounted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rig.manifests import Changes

from jobs.seen import Node
from jobs.serving.capable import image_volumes
from tests.jobs.serving.conftest import INSTALLATION, Ordered

CHANGES: list[tuple[Changes, bool]] = [
    ({"metadata.annotations": {"kaito.sh/runtime": "transformers"}}, True),
    ({"metadata.annotations": {"tunery.sh/together": "both"}}, True),
    ({"metadata.annotations": {"kaito.sh/enablelb": "True"}}, False),
    ({"inference.adapters": []}, True),
    ({"metadata.labels": {"a": "b"}}, False),
]


@pytest.mark.parametrize(("changes", "another"), CHANGES, ids=str)
def test_only_what_changes_the_answers_is_another_serving(
    ordered: Ordered, changes: Changes, another: bool
) -> None:
    assert (ordered(changes).hash != ordered().hash) == another


def test_an_upgrade_of_tunery_is_not_another_serving(ordered: Ordered) -> None:
    newer = replace(INSTALLATION, vllm_image="registry.invalid/vllm:2", tuner_image="t:2")
    assert ordered(installation=newer).hash == ordered().hash


def node(kubelet: str, runtime: str) -> Node:
    return Node("n", True, {}, 1, kubelet=kubelet, runtime=runtime)


@pytest.mark.parametrize(
    ("nodes", "can"),
    [
        ([], False),
        ([("v1.36.3", "containerd://2.4.2")], True),
        ([("v1.35.0-gke.1", "containerd://2.1.0-beta")], True),
        ([("v1.36.3", "cri-o://1.31.0")], True),
        ([("v1.34.9", "containerd://2.4.2")], False),
        ([("v1.36.3", "containerd://1.7.20")], False),
        ([("v1.36.3", "docker://29.0.1")], False),
        ([("v1.36.3", "containerd://2.4.2"), ("v1.36.3", "containerd://2.0.9")], False),
        ([("", "")], False),
    ],
)
def test_image_volumes_are_used_where_every_node_can(
    nodes: list[tuple[str, str]], can: bool
) -> None:
    seen = [node(*each) for each in nodes]
    assert image_volumes("auto", seen) == can
    assert image_volumes("always", seen) and not image_volumes("never", seen)
