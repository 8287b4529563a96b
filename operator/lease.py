"""Who of several replicas writes: the holder of a Lease. The others watch, and serve admission.

Stands around the workers of engine.py. The usual times: a lease holds for 15 s, is renewed every
2 s, and whoever could not renew it for 10 s stops. A holder that goes gives it back, so the next
one starts at once. What another replica's clock says does not matter: a lease has run out when it
did not change for 15 s of our own clock.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import kube
from apierror import ApiError
from jobs.decision import Object

log = logging.getLogger("tunery.lease")


@dataclass(frozen=True, slots=True)
class Times:
    holds_s: int = 15
    gives_up_s: float = 10.0
    renews_s: float = 2.0


USUAL = Times()
NAME = "tunery-operator"


class Lease:
    """`holds` says whether this replica is the one that writes."""

    def __init__(self, api: kube.Kube, namespace: str, holder: str, times: Times = USUAL) -> None:
        self._api = api
        self._holder = holder
        self._times = times
        self._empty: Object = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": namespace, "name": NAME},
            "spec": {},
        }
        self._seen: Object = {}
        self._seen_at = 0.0
        self.holds = False

    async def lead(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` whenever the lease is ours, until cancelled; then give the lease back."""
        while True:
            await self._acquire()
            log.info("holder=%s leads", self._holder)
            self.holds = True
            task = asyncio.create_task(work())
            try:
                await self._keep(task)
            finally:
                self.holds = False
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await self._release()
            log.warning("holder=%s leads no more", self._holder)

    async def _acquire(self) -> None:
        while not await self._try():
            await asyncio.sleep(self._times.renews_s)

    async def _keep(self, task: asyncio.Task[None]) -> None:
        """Renew until that fails for too long, or the work ends by itself (a bug: it is raised)."""
        renewed_at = time.monotonic()
        while time.monotonic() - renewed_at < self._times.gives_up_s:
            done, _ = await asyncio.wait({task}, timeout=self._times.renews_s)
            if done:
                task.result()
                return
            if await self._try():
                renewed_at = time.monotonic()
            elif not self._is_free() and not self._is_ours():
                return

    async def _try(self) -> bool:
        """Take or renew it; False when it is somebody else's or the server does not answer."""
        try:
            async with asyncio.timeout(self._times.gives_up_s / 2):
                return await self._take()
        except (ApiError, TimeoutError) as error:
            if isinstance(error, ApiError) and error.kind == "conflict":
                self._seen = {}
            log.info("holder=%s: %s", self._holder, error)
            return False

    async def _take(self) -> bool:
        if not self._is_ours():
            await self._look()
        if not self._is_ours() and not self._is_free():
            return False
        wanted = self._wanted()
        create = not wanted["metadata"].get("resourceVersion")
        self._note(await (self._api.create(wanted) if create else self._api.replace(wanted)))
        return True

    async def _look(self) -> None:
        try:
            self._note(await self._api.read(kube.ref_of(self._empty)))
        except ApiError as error:
            if error.kind != "absent":
                raise
            self._note(self._empty)

    def _note(self, found: Object) -> None:
        if found != self._seen:
            self._seen, self._seen_at = found, time.monotonic()

    def _wanted(self) -> dict[str, Any]:
        spec = self._spec()
        changes = int(spec.get("leaseTransitions") or 0) + (0 if self._is_ours() else 1)
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            **(self._seen or self._empty),
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": self._times.holds_s,
                "acquireTime": spec.get("acquireTime") if self._is_ours() else now,
                "renewTime": now,
                "leaseTransitions": changes,
            },
        }

    def _spec(self) -> Mapping[str, Any]:
        spec: Mapping[str, Any] = self._seen.get("spec") or {}
        return spec

    def _is_ours(self) -> bool:
        return self._spec().get("holderIdentity") == self._holder

    def _is_free(self) -> bool:
        if not self._spec().get("holderIdentity"):
            return True
        held_s = float(self._spec().get("leaseDurationSeconds") or self._times.holds_s)
        return time.monotonic() - self._seen_at > held_s

    async def _release(self) -> None:
        """So that nobody waits for it to run out. Best effort: it runs out anyway."""
        if not self._is_ours():
            return
        given_back = self._wanted()
        given_back["spec"] = {**given_back["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        self._seen = {}
        try:
            async with asyncio.timeout(2):
                await self._api.replace(given_back)
        except (ApiError, TimeoutError) as error:
            log.info("holder=%s: the lease was not given back: %s", self._holder, error)
