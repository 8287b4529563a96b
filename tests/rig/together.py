"""Which tests share a process: those that stop the cluster's programs and those of the operator
that is installed on it, one after another; others by file, for the fixtures that they share. Tests
of tests/cluster and tests/chain take turns (rig/turns.py): those that stop nothing go by file, too.

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
        path = self.config.rootpath / file
        return CLUSTER if of_cluster(path) and not takes_turns(path) else file


@cache
def takes_turns(file: Path) -> bool:
    """Whether the tests of this file use the cluster and stop nothing in it."""
    return file.parent.name in {"cluster", "chain"} and "pytest.mark.alone" not in file.read_text()


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
