"""operator/webhook.py in this process, asked by the real API server of our machine.

    with entered(machine.pid): asyncio.run(...)     # so that the API server reaches 127.0.0.1

Only Workspaces of one namespace are sent to it.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from rig.kube import Kube, Machine
from rig.wired import wired

import presets
from admission import looking_up
from jobs.context import Context
from kube import Kube as Api
from webhook import PATH, Options, Webhook

KIND = "validatingwebhookconfiguration"


@dataclass(frozen=True)
class Hooked:
    """A namespace whose Workspaces are judged, and the configuration that says so."""

    machine: Machine
    kube: Kube
    port: int

    @property
    def name(self) -> str:
        return f"{self.kube.namespace}-hook"

    def configure(self, port: int = 0) -> None:
        """Make the configuration, or put it back as a chart's upgrade might: without a bundle."""
        selected = {"matchLabels": {"kubernetes.io/metadata.name": self.kube.namespace}}
        rule = {
            "apiGroups": ["kaito.sh"],
            "apiVersions": ["v1alpha1", "v1beta1"],
            "resources": ["workspaces"],
            "operations": ["CREATE", "UPDATE"],
        }
        hook = {
            "name": "validation.workspace.kaito.sh",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "namespaceSelector": selected,
            "rules": [rule],
            "clientConfig": {"url": f"https://127.0.0.1:{port or self.port}{PATH}"},
        }
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.name},
            "webhooks": [hook],
        }
        if self.kube.attempt("create", "-f", "-", stdin=json.dumps(body)).returncode:
            self.kube("replace", "-f", "-", stdin=json.dumps(body))

    def remove(self) -> None:
        self.kube("delete", KIND, self.name, "--ignore-not-found")

    def bundle(self) -> bytes:
        """What the API server trusts."""
        found: dict[str, Any] = self.kube.get(KIND, self.name)
        return base64.b64decode(found["webhooks"][0]["clientConfig"].get("caBundle", ""))

    def trusts(self) -> int:
        return self.bundle().count(b"BEGIN CERTIFICATE")

    @asynccontextmanager
    async def serving(self, holder: str, **options: Any) -> AsyncIterator[Webhook]:
        """One replica."""
        async with wired(self.machine) as wire:
            api = Api(wire)
            of = looking_up(Context(presets.load()), dict, api.read)
            usual = {"port": self.port, "settle_s": 1.0}
            made = Options(("127.0.0.1",), holder, self.name, **{**usual, **options})
            webhook = Webhook(api, of, made)
            task = asyncio.create_task(webhook.run())
            try:
                while webhook.unready() and not task.done():
                    await asyncio.sleep(0.05)
                assert not task.done(), task.exception()
                yield webhook
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def serial(self) -> str:
        """The certificate that is served now."""
        bundle = await asyncio.to_thread(self.bundle)
        context = ssl.create_default_context(cadata=bundle.decode())
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        shown = writer.get_extra_info("ssl_object").getpeercert()
        writer.close()
        await writer.wait_closed()
        return str(shown["serialNumber"])


def seconds(number: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=number)
