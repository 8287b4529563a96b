from __future__ import annotations

import pytest
from rig.kube import Kube, kube, machine, namespace, pytest_collection_modifyitems  # noqa: F401

from scripts.crd.__main__ import TARGET


@pytest.fixture(scope="session")
def crd(kube: Kube) -> Kube:  # noqa: F811
    """The cluster, which knows Workspaces."""
    kube("apply", "--server-side", "--force-conflicts", "-f", str(TARGET))
    kube.wait("crd/workspaces.kaito.sh", "condition=Established")
    return kube
