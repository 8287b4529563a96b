"""The operator without its shell: informers, queue, workers, lease, webhook, put together.

main.py runs it inside kopf, tests and benchmarks run it as it is. No worker starts before every
informer has listed: a Job that is not known yet would look like one that is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from admission import looking_up
from caches import Caches
from health import Front, complaints, not_ready
from informer import Informer, Name
from jobs.context import Context
from jobs.installation import Installation
from jobs.progress import parse
from jobs.serving.said import report
from journal import Journal
from kube import Kube
from lease import Lease
from meters import Meters
from poller import Poller
from presets import Catalog
from reconcile import Reconciler
from settings import Process
from webhook import Options, Webhook
from wire import Exchange
from workqueue import WorkQueue

_POSTERS = 4
_ADAPTERS_S = 2.0
"""Between two questions to a server that changes its adapters."""
_ROUND_S = 600.0
"""Every Workspace is looked at this often, whatever happened: a lost wake-up costs no more."""


class Engine:
    """`run` it until it is cancelled; the exchange is closed by whoever opened it.

    `synced` is called once everything is listed.
    """

    def __init__(
        self,
        exchange: Exchange,
        installation: Installation,
        process: Process,
        catalog: Catalog,
        synced: Callable[[], None] = lambda: None,
    ) -> None:
        self._synced = synced
        self._process = process
        self._meters = Meters()
        self._kube = Kube(exchange, self._meters.requested)
        self.queue: WorkQueue[Name] = WorkQueue(self._runs)
        self.caches = Caches(self._kube, self.queue.add)
        self._progress = Poller(self.caches.progressed, parse)
        self._adapters = Poller(
            self.caches.served,
            lambda said, _: report(said),
            every_s=_ADAPTERS_S,
            first_s=0,
            seldom_when_same=True,
        )
        self._journal = Journal(self._kube, process.pod_name)
        self._reconciler = Reconciler(
            self._kube,
            self.caches,
            self.queue,
            self._progress,
            self._adapters,
            self._journal,
            self._meters,
            installation,
            catalog,
        )
        self._lease = Lease(self._kube, installation.namespace, process.pod_name)
        self._leads = False
        self._ended = False
        self._webhook = self._made_webhook(installation, catalog)
        self._front = Front(self.unhealthy, self.unready, self._meters.text)
        self._meters.look_at(
            self.caches.workspaces.items.values, self.queue.__len__, lambda: self._leads
        )

    @property
    def _informers(self) -> tuple[Informer[Any], ...]:
        return (*self.caches.informers, *(self._webhook.informers if self._webhook else ()))

    def unhealthy(self) -> list[str]:
        return complaints(self._informers, self.queue.longest_busy_s(), self._ended)

    def unready(self) -> list[str]:
        untrusted = self._webhook.unready() if self._webhook else []
        return not_ready(self._informers) + untrusted

    async def run(self) -> None:
        """Until cancelled. Raises only for a bug in what must not fail."""
        try:
            await self._front.open(self._process.metrics_port)
            async with asyncio.TaskGroup() as tasks:
                for informer in self.caches.informers:
                    tasks.create_task(informer.run())
                tasks.create_task(self._lead())
                if self._webhook:
                    tasks.create_task(self._webhook.run())
        finally:
            self._ended = True
            self.queue.stop()
            await self._progress.close()
            await self._adapters.close()
            await self._front.close()

    async def _lead(self) -> None:
        for informer in self.caches.informers:
            await informer.synced.wait()
        self._synced()
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
                for _ in range(_POSTERS):
                    workers.create_task(self._journal.run())
                workers.create_task(self._rounds())
        finally:
            self._leads = False
            await self._progress.stop()
            await self._adapters.stop()

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_S)
            for key in list(self.caches.workspaces.items):
                self.queue.add(key)
                await asyncio.sleep(0)

    def _made_webhook(self, installation: Installation, catalog: Catalog) -> Webhook | None:
        process = self._process
        if not process.webhook_names:
            return None
        rules = Context(
            catalog,
            auto_provisioning=installation.auto_provisioning,
            allow_hosts=installation.allow_hosts,
            allow_host_path=installation.allow_host_path,
        )
        options = Options(
            names=process.webhook_names,
            holder=process.pod_name,
            configuration=process.webhook_configuration,
            port=process.webhook_port,
            folder=Path(process.webhook_certificate) if process.webhook_certificate else None,
        )
        known = self.caches.config_maps.items
        return Webhook(self._kube, looking_up(rules, lambda: known, self._kube.read), options)

    def _runs(self, key: Name) -> bool:
        return key in self.caches.jobs.items
