"""One HTTP exchange with the API server, through the Kubernetes client library.

The lowest step of all I/O: kube.py builds requests and reads answers, this module sends them. The
library does what must not be done by hand (kubeconfig, the service account's token and its
rotation, TLS), and its `ApiClient.call_api` is used below its generated classes: measured on
status patches, 0.18 ms of CPU a request, as much as a bare aiohttp session; 0.26 ms with
CustomObjectsApi, 0.83 ms with the dynamic client. Only its default `trust_env` has to go: it
reads .netrc and proxy settings at every request (0.41 ms), and would send calls to the API server
through HTTPS_PROXY.

An `Exchange` is what kube.py is made with, so a test can put faults between any two writes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import client, config

_CONNECT_S = 10


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


class Wire:
    """An `Exchange` with a real API server. `close` it."""

    def __init__(self, configuration: client.Configuration) -> None:
        configuration.client_session_kwargs = {"trust_env": False}
        # No limit on connections: a worker has one request at a time, an informer its watch.
        configuration.connection_pool_maxsize = 0
        self._api = client.ApiClient(configuration)

    @asynccontextmanager
    async def __call__(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept": request.accept, "Content-Type": request.content_type}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        answer = await self._api.call_api(
            request.method,
            self._api.configuration.host + request.path,
            headers,
            request.body,
            _request_timeout=aiohttp.ClientTimeout(
                request.total_s, sock_connect=_CONNECT_S, sock_read=request.silence_s
            ),
        )
        response: aiohttp.ClientResponse = answer.response
        try:
            yield response
        finally:
            # Nothing happens to one that was read to its end; one left in the middle is cut.
            response.close()

    async def close(self) -> None:
        await self._api.close()


async def connect(environment: Mapping[str, str] = os.environ) -> Wire:
    """By KUBECONFIG when it is set, else as the pod's service account, else ~/.kube/config.

    Raises:
        kubernetes.aio.config.ConfigException: there is no such configuration.
    """
    configuration = client.Configuration()
    if "KUBECONFIG" not in environment and "KUBERNETES_SERVICE_HOST" in environment:
        config.load_incluster_config(configuration)
    else:
        await config.load_kube_config(
            environment.get("KUBECONFIG"), client_configuration=configuration, persist_config=False
        )
    return Wire(configuration)
