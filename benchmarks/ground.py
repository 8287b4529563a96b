"""The cluster as a contestant finds it: its own CRDs and an empty namespace.

Contestants ship different CRDs of the same name, so each turn lays its own over the other's.
Nothing of a turn is left when the next begins, not even an object whose finalizer its controller,
stopped by then, would have to remove.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contestants import TUNERY, Contestant
from benchmarks.lives import NAMESPACE, connected
from cluster.control import kubectl, wait_for_crds
from cluster.layout import Layout
from cluster.network import entered
from jobs.decision import Patch, Ref
from kube import Source

_BODY = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
_EMPTY_LIMIT_S = 900


@contextmanager
def laid(layout: Layout, pid: int, contestant: Contestant) -> Iterator[None]:
    """Until the end of the block, whose thread is in the cluster's network."""
    if _is_there(layout, pid):
        _clear(layout, pid)
        _wait_for_none(layout, pid)
    _lay_crds(layout, pid, contestant)
    for body in (_BODY, *contestant.objects):
        kubectl(layout, pid, "apply", "-f", "-", stdin=json.dumps(body))
    try:
        with entered(pid):
            yield
    finally:
        _clear(layout, pid)


@contextmanager
def ours_restored(layout: Layout, pid: int) -> Iterator[None]:
    """After a block with other contestants: our CRD, and no CRD that was not there before."""
    before = _crds(layout, pid)
    try:
        yield
    finally:
        _lay_crds(layout, pid, TUNERY)
        added = _crds(layout, pid) - before - {"workspaces.kaito.sh"}
        if added:
            kubectl(layout, pid, "delete", "crd", "--wait=false", *sorted(added))


def _lay_crds(layout: Layout, pid: int, contestant: Contestant) -> None:
    for path in contestant.crds:
        kubectl(layout, pid, "apply", "--server-side", "--force-conflicts", "-f", str(path))
    wait_for_crds(layout, pid)


def _crds(layout: Layout, pid: int) -> set[str]:
    names = kubectl(layout, pid, "get", "crd", "-o", "name").split()
    return {name.partition("/")[2] for name in names}


def _is_there(layout: Layout, pid: int) -> bool:
    words = ("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name")
    return bool(kubectl(layout, pid, *words))


def _clear(layout: Layout, pid: int) -> None:
    with entered(pid):
        asyncio.run(_let_go(layout))
    words = ("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")
    kubectl(layout, pid, *words)


def _wait_for_none(layout: Layout, pid: int) -> None:
    deadline = time.monotonic() + _EMPTY_LIMIT_S
    while _is_there(layout, pid):
        if time.monotonic() > deadline:
            raise TimeoutError(f"namespace {NAMESPACE} is still there after {_EMPTY_LIMIT_S} s")
        time.sleep(1)


async def _let_go(layout: Layout) -> None:
    """No finalizers on Workspaces; those who set them are gone."""
    async with connected(layout) as kube:
        which = ""
        while True:
            page = await kube.page(Source("kaito.sh/v1beta1", "Workspace"), which)
            for metadata in (item["metadata"] for item in page.items):
                if metadata["namespace"] == NAMESPACE and metadata.get("finalizers"):
                    ref = Ref("kaito.sh/v1beta1", "Workspace", NAMESPACE, metadata["name"])
                    await kube.do(Patch(ref, {"metadata": {"finalizers": None}}))
            which = page.following
            if not which:
                return
