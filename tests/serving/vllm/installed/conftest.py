"""An installed Tunery that serves with the real vLLM, on CPUs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rig.installed import Tunery, installed, small, tiny_base, tiny_image
from rig.kube import Kube, Machine, kube, machine, namespace
from rig.served import codes_adapter, codes_image

from cluster import recipes

__all__ = [
    "codes_adapter",
    "codes_image",
    "kube",
    "machine",
    "namespace",
    "small",
    "tiny_base",
    "tiny_image",
]


@pytest.fixture(scope="package")
def tunery(machine: Machine, kube: Kube) -> Iterator[Tunery]:
    more = {"serving.vllmImage": machine.image(recipes.vllm_cpu), "serving.memoryGiB": "4"}
    with installed(machine, kube, more) as found:
        yield found
