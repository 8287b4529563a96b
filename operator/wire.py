"""One HTTP exchange with the API server: kopf's credentials and TLS, an aiohttp session of our own.

The lowest step of all I/O: kube.py builds requests and reads answers, this module sends them. It
takes the place of the Kubernetes client package. Measured on status patches: 0.18 ms of CPU a
request here, the same with that package's lowest call once its `trust_env` is off (0.41 ms as it
comes: it reads .netrc and proxy settings each time), 0.26 ms with CustomObjectsApi, 0.83 ms with
its dynamic client. What decides is the import: where the package is installed kopf imports it too,
which doubles the start (0.9 → 1.7 CPU-s) and costs 25 MB of memory and 75 MB of image.

An `Exchange` is what kube.py is made with, so a test can put faults between any two writes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import kopf
import orjson

_CONNECT_S = 10
_LOGIN_S = 60.0
"""A service account's token is another one every hour; its file is read again this often."""
_LONGEST_LINE_BYTES = 2 * 2**20
"""Of a watch: an object is at most 1.5 MiB."""


@dataclass(frozen=True, slots=True)
class Request:
    """What goes over the wire, but for credentials."""

    method: str
    path: str
    """With the query."""
    body: Mapping[str, Any] | None = None
    content_type: str = "application/json"
    accept: str = "application/json"
    silence_s: float = 30
    """The longest time without a byte."""
    total_s: float | None = 30
    """None: as long as bytes come."""


Exchange = Callable[[Request], AbstractAsyncContextManager[aiohttp.ClientResponse]]
"""Raises aiohttp.ClientError, OSError or TimeoutError when the network does not do its part."""
LogIn = Callable[[], kopf.ConnectionInfo]


class Wire:
    """An `Exchange` with a real API server. `close` it."""

    def __init__(self, log_in: LogIn) -> None:
        self._log_in = log_in
        found = log_in()
        self._server = found.server.rstrip("/")
        self._headers: dict[str, str] = found.as_http_headers()
        self._logged_in_at = time.monotonic()
        # No limit on connections: a worker has one request at a time, an informer its watch.
        # No trust in the environment: HTTPS_PROXY is for the outside, not for the API server.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=found.as_ssl_context()),
            proxy=found.proxy_url,
            read_bufsize=_LONGEST_LINE_BYTES,
        )

    @asynccontextmanager
    async def __call__(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._session.request(
            request.method,
            self._server + request.path,
            data=None if request.body is None else orjson.dumps(request.body, default=dict),
            headers={
                **self._authorization(),
                "Accept": request.accept,
                "Content-Type": request.content_type,
            },
            timeout=aiohttp.ClientTimeout(
                request.total_s, sock_connect=_CONNECT_S, sock_read=request.silence_s
            ),
        ) as response:
            yield response

    async def close(self) -> None:
        await self._session.close()

    def _authorization(self) -> dict[str, str]:
        now = time.monotonic()
        if now - self._logged_in_at > _LOGIN_S:
            self._headers, self._logged_in_at = self._log_in().as_http_headers(), now
        return self._headers


def log_in(settings: kopf.OperatorSettings, environment: Mapping[str, str]) -> kopf.ConnectionInfo:
    """By KUBECONFIG when it is set, else as the pod's service account, else by ~/.kube/config.

    Raises:
        kopf.LoginError: there is no such configuration.
    """
    ways = [kopf.login_with_service_account, kopf.login_with_kubeconfig]
    for way in ways[1:] if "KUBECONFIG" in environment else ways:
        found: kopf.ConnectionInfo | None = way(settings=settings)
        if found is not None:
            return found
    raise kopf.LoginError("no cluster: neither KUBECONFIG nor a service account nor ~/.kube/config")
