"""For every test: a busy machine is slow, not wrong; and there is one cluster for all."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("tunery", deadline=None)
settings.load_profile("tunery")

CLUSTER = "cluster"
CLUSTER_FIXTURES = {"kube", "machine"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{CLUSTER}: needs a cluster (set by its fixtures)")
    config.addinivalue_line("markers", "xdist_group(name): runs in one process with its group")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the cluster are marked so, come first, and run one after another in one process:
    they stop its programs. Others stay together by file, for the fixtures that they share."""
    for item in items:
        if CLUSTER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(CLUSTER)
        group = CLUSTER if item.get_closest_marker(CLUSTER) else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.get_closest_marker(CLUSTER) is None)
