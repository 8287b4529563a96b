"""Keeps the webhook's certificate in the `caBundle` of its ValidatingWebhookConfiguration.

Between certificates.py, which says what belongs there, and the API server. One object is watched:
whatever takes our certificate out (another replica that raced us, an upgrade of the chart, a
person) is put right at once, and at rest nothing is asked. Server-side apply owns `caBundle` alone,
with the version that was read: who comes second is refused, and reads again.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from apierror import ApiError
from certificates import Certificate, trusted
from informer import Informer, Name
from jobs.decision import Object
from kube import Kube, Source

log = logging.getLogger("tunery.ca_bundle")
_API_VERSION, _KIND = "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"
_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """The configuration: its version, and what each of its webhooks trusts."""

    version: str
    bundles: Mapping[str, bytes]


class CaBundle:
    """`run` it; `trust` before a certificate is served."""

    def __init__(
        self, kube: Kube, name: str, holder: str, now: Callable[[], datetime.datetime]
    ) -> None:
        self._kube = kube
        self._name = name
        self._holder = holder
        self._now = now
        self._own: tuple[Certificate, ...] = ()
        self._stale = asyncio.Event()
        self._settled = asyncio.Event()
        self.informer = Informer(
            kube, Source(_API_VERSION, _KIND, fields=f"metadata.name={name}"), seen, self._changed
        )

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.informer.run())
            tasks.create_task(self._keep())

    async def trust(self, own: Iterable[Certificate]) -> None:
        """Returns once these, and none that this replica had before, are trusted."""
        self._own = tuple(own)
        self._settled.clear()
        self._stale.set()
        await self._settled.wait()

    @property
    def is_settled(self) -> bool:
        return self._settled.is_set()

    def _changed(self, name: Name, before: Seen | None, after: Seen | None) -> None:
        self._stale.set()

    async def _keep(self) -> None:
        await self.informer.synced.wait()
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                await self._write()
            except ApiError as error:
                if error.kind == "conflict":
                    continue  # what came between is on its way to the informer, and wakes us
                log.warning("%s %s: %s", _KIND, self._name, error.sentence)
                await asyncio.sleep(_AGAIN_S)
                self._stale.set()

    async def _write(self) -> None:
        """Nothing to do where there is no configuration: then nobody asks the webhook."""
        found = self.informer.items.get(("", self._name))
        wanted = self._wanted(found.bundles) if found else {}
        if found and wanted != found.bundles:
            self._settled.clear()
            self.informer.put(await self._kube.apply(_patch(self._name, found.version, wanted)))
            log.info("%s %s trusts %s", _KIND, self._name, self._holder)
        else:
            self._settled.set()

    def _wanted(self, bundles: Mapping[str, bytes]) -> dict[str, bytes]:
        now = self._now()
        own = [certificate for certificate in self._own if certificate.ends > now]
        return {hook: trusted(b, own, self._holder, now) for hook, b in bundles.items()}


def seen(body: Object) -> Seen:
    hooks: list[Mapping[str, Any]] = body.get("webhooks") or []
    return Seen(
        body["metadata"]["resourceVersion"],
        {hook["name"]: _decoded(hook["clientConfig"].get("caBundle", "")) for hook in hooks},
    )


def _decoded(bundle: str) -> bytes:
    try:
        return base64.b64decode(bundle)
    except binascii.Error:
        return b""


def _patch(name: str, version: str, bundles: Mapping[str, bytes]) -> Object:
    return {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": {"name": name, "resourceVersion": version},
        "webhooks": [
            {"name": hook, "clientConfig": {"caBundle": base64.b64encode(b).decode()}}
            for hook, b in bundles.items()
        ],
    }
