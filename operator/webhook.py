"""Serves admission over TLS: the socket, the certificate's life, and nothing of the rules.

Run by engine.py in every replica, whether it leads or not. What is asked goes to admission.py. The
certificate is made here and trusted through ca_bundle.py, or, with cert-manager, read from a folder
that a Secret is mounted at.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

import certificates
from admission import ContextOf, NotAReview, request_of, review
from ca_bundle import CaBundle
from informer import Informer
from kube import Kube

log = logging.getLogger("tunery.webhook")
PATH = "/validate/workspace.kaito.sh"
_MOST_BYTES = 8 * 2**20
"""The old and the new object, each at most what etcd takes, and what was applied last in both."""
_READ_S = 5.0
_LONGEST_SLEEP_S = 3600.0


@dataclass(frozen=True, slots=True)
class Options:
    """How it is reached, by whom, and under which name it is known to the API server."""

    names: tuple[str, ...]
    """Host names that the API server calls."""
    holder: str
    """This replica, among those that are trusted."""
    configuration: str = "tunery"
    """Name of the ValidatingWebhookConfiguration."""
    port: int = 9443
    life: datetime.timedelta = datetime.timedelta(days=30)
    settle_s: float = 30.0
    """A new certificate is served this long after it is trusted: several API servers may learn of
    it one after the other."""
    folder: Path | None = None
    """tls.crt and tls.key that somebody else keeps, and has the API server trust."""


class Webhook:
    """`run` it until it is cancelled."""

    def __init__(self, kube: Kube, context_of: ContextOf, options: Options) -> None:
        self._options = options
        self._context_of = context_of
        self._bundle = CaBundle(kube, options.configuration, options.holder, _now)

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """What must be heard of; empty when somebody else keeps the certificate."""
        return () if self._options.folder else (self._bundle.informer,)

    def unready(self) -> list[str]:
        """Why the API server could not call it yet."""
        if self._options.folder or self._bundle.is_settled:
            return []
        return ["the API server does not trust the webhook's certificate yet"]

    async def run(self) -> None:
        if self._options.folder:
            await self._serve(_from(self._options.folder))
            return
        context = _server_context()
        certificate = self._make()
        certificates.use(context, certificate)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bundle.run())
            tasks.create_task(self._renew(context, certificate))
            tasks.create_task(self._serve(context))

    async def _renew(self, context: ssl.SSLContext, certificate: certificates.Certificate) -> None:
        """The next certificate is trusted before it is served, and the old one until it ends."""
        await self._bundle.trust([certificate])
        while True:
            await _sleep_until(certificate.renew_at())
            following = self._make()
            await self._bundle.trust([certificate, following])
            await asyncio.sleep(self._options.settle_s)
            certificates.use(context, following)
            log.info("a new certificate is served until %s", following.ends)
            certificate = following

    def _make(self) -> certificates.Certificate:
        options = self._options
        return certificates.make(options.names, options.holder, options.life, _now())

    async def _serve(self, context: ssl.SSLContext) -> None:
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_post(PATH, self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        try:
            await runner.setup()
            await web.TCPSite(runner, port=self._options.port, ssl_context=context).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _answer(self, asked: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(_READ_S):
                request = request_of(json.loads(await asked.read()))
        except (ValueError, RecursionError, NotAReview):
            return web.Response(status=400, text="this is no AdmissionReview\n")
        except TimeoutError:
            return web.Response(status=408, text="the request came too slowly\n")
        return web.json_response(await review(request, self._context_of))


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _from(folder: Path) -> ssl.SSLContext:
    """Each connection gets the certificate that is in the folder when it begins."""
    holder = _Folder(folder)
    context = holder.context()

    def chosen(connection: ssl.SSLObject, name: str | None, present: ssl.SSLContext) -> None:
        connection.context = holder.context()

    context.sni_callback = chosen
    return context


class _Folder:
    """tls.crt and tls.key, read again when they have changed."""

    def __init__(self, folder: Path) -> None:
        self._files = (folder / "tls.crt", folder / "tls.key")
        self._read: tuple[bytes, ...] = ()
        self._context = _server_context()

    def context(self) -> ssl.SSLContext:
        """Raises OSError only when there has never been a usable pair."""
        try:
            self._look()
        except OSError as error:  # ssl.SSLError is one; half of a change
            if not self._read:
                raise
            log.warning("the certificate in %s is not usable: %s", self._files[0].parent, error)
        return self._context

    def _look(self) -> None:
        content = tuple(file.read_bytes() for file in self._files)
        if content != self._read:
            context = _server_context()
            context.load_cert_chain(*self._files)
            self._read, self._context = content, context


async def _sleep_until(when: datetime.datetime) -> None:
    """By the wall clock: a machine may have slept meanwhile."""
    while (left_s := (when - _now()).total_seconds()) > 0:
        await asyncio.sleep(min(left_s, _LONGEST_SLEEP_S))


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
