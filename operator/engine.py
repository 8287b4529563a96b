"""The operator without its shell: informers, queue, workers, lease, put together and taken apart.

main.py runs it inside kopf, tests and benchmarks run it as it is. No worker starts before every
informer has listed: a Job that is not known yet would look like one that is missing.
"""

from __future__ import annotations

import asyncio

from caches import Caches
from health import Front, complaints, not_ready
from informer import Name
from jobs.installation import Installation
from journal import Journal
from kube import Kube
from lease import Lease
from meters import Meters
from poller import Poller
from presets import Catalog
from reconcile import Reconciler
from settings import Process
from wire import Exchange
from workqueue import WorkQueue

_ROUND_S = 600.0
"""Every Workspace is looked at this often, whatever happened: a lost wake-up costs no more."""


class Engine:
    """`run` it until it is cancelled; the exchange is closed by whoever opened it."""

    def __init__(
        self, exchange: Exchange, installation: Installation, process: Process, catalog: Catalog
    ) -> None:
        self._process = process
        self._meters = Meters()
        self._kube = Kube(exchange, self._meters.requested)
        self.queue: WorkQueue[Name] = WorkQueue(self._runs)
        self.caches = Caches(self._kube, self.queue.add)
        self._poller = Poller(self.caches.progressed)
        self._reconciler = Reconciler(
            self._kube,
            self.caches,
            self.queue,
            self._poller,
            Journal(self._kube, process.pod_name),
            self._meters,
            installation,
            catalog,
        )
        self._lease = Lease(self._kube, installation.namespace, process.pod_name)
        self._leads = False
        self._ended = False
        self._front = Front(self.unhealthy, self.unready, self._meters.text)
        self._meters.look_at(
            self.caches.workspaces.items.values, self.queue.__len__, lambda: self._leads
        )

    def unhealthy(self) -> list[str]:
        return complaints(self.caches.informers, self.queue.longest_busy_s(), self._ended)

    def unready(self) -> list[str]:
        return not_ready(self.caches.informers)

    async def run(self) -> None:
        """Until cancelled. Raises only for a bug in what must not fail."""
        try:
            await self._front.open(self._process.metrics_port)
            async with asyncio.TaskGroup() as tasks:
                for informer in self.caches.informers:
                    tasks.create_task(informer.run())
                tasks.create_task(self._lead())
        finally:
            self._ended = True
            self.queue.stop()
            await self._poller.close()
            await self._front.close()

    async def _lead(self) -> None:
        for informer in self.caches.informers:
            await informer.synced.wait()
        if self._process.replicas > 1:
            await self._lease.lead(self._work)
        else:
            await self._work()

    async def _work(self) -> None:
        """The workers, as long as this replica is the one that writes."""
        self._leads = True
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._process.workers):
                    workers.create_task(self._reconciler.work())
                workers.create_task(self._rounds())
        finally:
            self._leads = False

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_S)
            for key in list(self.caches.workspaces.items):
                self.queue.add(key)
                await asyncio.sleep(0)

    def _runs(self, key: Name) -> bool:
        return key in self.caches.jobs.items
