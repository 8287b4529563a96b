"""One Workspace, whatever happened to it: look, decide, do, tell.

The middle of the operator. The queue gives a key, the caches what is known of it, jobs/decide.py
says what to do and what its status is, kube.py does it. Nothing is remembered between two calls
but what the caches hold, so a crash between any two writes is one more reason to come here again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from apierror import ApiError
from caches import WORKSPACE_VERSION, Caches
from informer import Name
from jobs.decide import decide
from jobs.decision import Decision, Object, Ref
from jobs.installation import Installation
from jobs.seen import Progress, ServeWords
from journal import Journal
from kube import Kube
from mergepatch import merge_patch
from meters import Meters
from poller import Poller
from presets import Catalog
from readings import Readings
from workqueue import WorkQueue

log = logging.getLogger("tunery.reconcile")
_PASSING = ("transient", "conflict", "throttled")


def utc_now() -> str:
    """RFC 3339, whole seconds, as Kubernetes writes times."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Reconciler:
    """Everything that one reconcile needs, put together by engine.py."""

    def __init__(
        self,
        kube: Kube,
        caches: Caches,
        queue: WorkQueue[Name],
        progress: Poller[Progress],
        adapters: Poller[ServeWords],
        journal: Journal,
        meters: Meters,
        installation: Installation,
        catalog: Catalog,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._kube = kube
        self._caches = caches
        self._queue = queue
        self._progress = progress
        self._adapters = adapters
        self._journal = journal
        self._meters = meters
        self._installation = installation
        self._catalog = catalog
        self._now = now
        self._readings = Readings(installation)

    async def work(self) -> None:
        """One worker: a key after the other, until it is cancelled."""
        while True:
            key = await self._queue.get()
            began = time.perf_counter()
            try:
                await self._attempt(key)
            except asyncio.CancelledError:
                self._queue.add(key)  # whoever leads next does it
                raise
            finally:
                self._meters.reconciled(time.perf_counter() - began)
                self._queue.done(key)
            await asyncio.sleep(0)

    async def _attempt(self, key: Name) -> None:
        """Nothing escapes but a cancellation: whatever fails is told and tried again later."""
        try:
            await self._reconcile(key)
        except ApiError as error:
            self._meters.failed(error.kind)
            delay_s = self._queue.failed(key, error.retry_after_s)
            log.warning("key=%s/%s error=%s again_s=%.0f: %s", *key, error.kind, delay_s, error)
        except Exception:  # the outermost boundary: a bug must not stop the others
            self._meters.failed("bug")
            delay_s = self._queue.failed(key)
            log.exception("key=%s/%s error=bug again_s=%.0f", *key, delay_s)
        else:
            self._queue.went_well(key)

    async def _reconcile(self, key: Name) -> None:
        decision = self._decide(key)
        if decision is None:
            self._forget(key)
            return
        self._progress.follow(key, self._who(key, decision.watch_progress_of))
        self._adapters.follow(key, decision.adapters_of)
        try:
            for action in decision.actions:
                self._caches.take(await self._kube.do(action))
        except ApiError as error:
            await self._complain(key, error)
            raise
        await self._tell(key, decision)
        if decision.again_after_s is not None:
            self._queue.later(key, decision.again_after_s)

    def _who(self, key: Name, url: str) -> dict[str, str]:
        """The uid of the pod behind a URL."""
        pods = self._caches.of(key).pods if url else ()
        return {pod.uid: url for pod in pods if pod.ip == urlsplit(url).hostname}

    def _decide(self, key: Name, error: str = "") -> Decision | None:
        """None when the Workspace is gone."""
        body = self._caches.workspaces.items.get(key)
        if body is None:
            return None
        seen, before = self._caches.of(key), body.get("status") or {}
        now = self._now()
        reading = self._readings.of(key, body)
        return decide(body, seen, before, self._installation, self._catalog, now, error, reading)

    async def _complain(self, key: Name, error: ApiError) -> None:
        """Say in the status what cannot be done; what a moment later may work is not yet said."""
        if error.kind in _PASSING and not self._queue.fails(key):
            return
        decision = self._decide(key, error.sentence)
        if decision is None:
            return
        try:
            await self._tell(key, decision)
        except ApiError as second:
            log.info("key=%s/%s the error cannot be told either: %s", *key, second)

    async def _tell(self, key: Name, decision: Decision) -> None:
        """The status, if it differs from the one that is there, and the Events about that."""
        body, wanted = self._caches.workspaces.items.get(key), decision.status
        if body is None or wanted is None:
            return
        before: Object = body.get("status") or {}
        self._caches.waits_for_nodes(key, _waits_for_nodes(wanted))
        patch = merge_patch(before, wanted)
        if patch:
            self._caches.expect(key, wanted)
            try:
                self._caches.take(await self._kube.patch_status(_ref(key), patch))
            finally:
                self._caches.expect(key, None)
            self._meters.status_changed(before, wanted)
            log.info("key=%s/%s state=%s", *key, wanted.get("state"))
        self._journal.post(body, decision.events, self._now())
        if (wanted.get("run") or {}).get("outcome"):
            self._readings.forget(key)

    def _forget(self, key: Name) -> None:
        self._readings.forget(key)
        self._progress.follow(key, {})
        self._adapters.follow(key, {})
        self._caches.forget(key)
        self._queue.forget(key)


def _ref(key: Name) -> Ref:
    return Ref(WORKSPACE_VERSION, "Workspace", *key)


def _waits_for_nodes(status: Object) -> bool:
    """Until there are enough, any node may be the one."""
    if (status.get("run") or {}).get("outcome"):
        return False
    conditions = status.get("conditions") or ()
    return not any(c["type"] == "ResourceReady" and c["status"] == "True" for c in conditions)
