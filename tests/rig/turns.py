"""Tests of the cluster run side by side, but for those that stop its programs: `alone` ones.

    from rig.turns import turn  # noqa: F401  autouse

A lock between processes: shared by most tests, whole for the tests marked `alone`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rig.together import needs_cluster

from cluster.layout import default


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wait until nobody disturbs this test, or until it disturbs nobody."""
    if needs_cluster(request.node):
        with taken(alone=request.node.get_closest_marker("alone") is not None):
            yield
    else:
        yield


@contextmanager
def taken(*, alone: bool) -> Iterator[None]:
    """Hold the cluster: with others, or whole."""
    folder = default().cache
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)
