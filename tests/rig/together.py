"""Which tests share a process: all of the cluster, one after another, for they stop its programs;
others by file, for the fixtures that they share. So do those that start a cluster of their own.

The process that hands tests out knows only their names, so a test's file says what it needs: one
that imports from rig.kube or rig.installed is the cluster's. (The group marks of pytest-xdist 3.8
would be the way, but are lost with pytest 9.2: it no longer reads the name that they are put in.)
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

CLUSTER = "cluster"
_FIXTURES = {"kube", "machine"}
_IMPORTS = re.compile(r"^from rig\.(kube|installed) import", re.MULTILINE)


class Together(LoadScopeScheduling):
    """One group of tests after another to whichever process is free."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return CLUSTER if of_cluster(self.config.rootpath / file) else file


@cache
def of_cluster(file: Path) -> bool:
    """Whether the tests of this file may need the cluster."""
    return _IMPORTS.search(file.read_text()) is not None


def needs_cluster(item: pytest.Item) -> bool:
    """Whether the test asks for the cluster.

    Raises:
        pytest.UsageError: it does, and its file does not say so.
    """
    given = getattr(getattr(item, "callspec", None), "params", {})
    if not _FIXTURES & (set(getattr(item, "fixturenames", ())) - set(given)):
        return False
    if not of_cluster(item.path):
        raise pytest.UsageError(
            f"{item.nodeid} needs the cluster: import Kube or Machine from rig.kube"
        )
    return True
