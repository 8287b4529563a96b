"""For every test: a busy machine is slow, not wrong; and there is one cluster for all."""

from __future__ import annotations

import pytest
from hypothesis import settings
from rig.together import CLUSTER, Together, needs_cluster, of_cluster
from xdist.remote import Producer
from xdist.scheduler import Scheduling

settings.register_profile("tunery", deadline=None)
settings.load_profile("tunery")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{CLUSTER}: needs a cluster (set by its fixtures)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the cluster are marked so, and come first: they mostly wait. Of these, those that
    nobody may accompany come last, and first the one that computes for long."""
    for item in items:
        if needs_cluster(item):
            item.add_marker(CLUSTER)
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[bool, bool, bool]:
    alone = item.get_closest_marker("alone") is not None
    return not of_cluster(item.path), alone, item.path.name != "test_image.py"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """With `--dist loadscope`, our groups."""
    return Together(config, log) if config.getoption("dist") == "loadscope" else None
