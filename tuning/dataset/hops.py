"""One GET, every hop checked: the URL as written, and the address that is connected to.

Below fetch.py. A redirect or a DNS answer must not lead where the URL itself may not (KAITO's curl
follows both). A name is resolved once and the connection goes to the very address that was judged,
so that DNS cannot change its mind in between. No proxy, netrc or Authorization is ever used.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import certifi
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from presets.problem import printable
from tuning import urls
from tuning.failure import Failure, Kind
from tuning.retry import Patience, Transient, patiently

Answer = urllib3.BaseHTTPResponse
_NAME_PATIENCE = Patience(deadline_s=20)
_REDIRECTS = (301, 302, 303, 307, 308)


def resolved(host: str, port: int) -> Sequence[str]:
    """Every address of a host, as the system's resolver answers. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class Guard:
    """What a hop may do, and how long it may take."""

    allow_hosts: tuple[str, ...] = ()
    resolve: Callable[[str, int], Sequence[str]] = resolved
    connect_timeout_s: float = 15.0
    silence_timeout_s: float = 60.0
    """Longest wait for the next byte."""
    name_patience: Patience = _NAME_PATIENCE
    """A pod's DNS may need a moment after start; a name that does not exist stays that way."""
    max_redirects: int = 5
    ca_file: str | None = None
    """Certificate authorities; None: the system's (SSL_CERT_FILE counts) or else certifi's."""


@contextmanager
def opened(url: str, headers: Mapping[str, str], guard: Guard) -> Iterator[Answer]:
    """The answer at the end of the redirects, its body not read yet.

    Raises Transient for what may pass, Failure (BAD_CONFIG) for a hop that is not allowed.
    """
    here = url
    for _ in range(guard.max_redirects + 1):
        answer = _get(here, headers, guard)
        target = answer.headers.get("Location") if answer.status in _REDIRECTS else None
        if target is None:
            try:
                yield answer
            finally:
                answer.close()
            return
        answer.close()
        here = _next(here, target, url)
    raise _refused(url, f"it redirects more than {guard.max_redirects} times")


def shown(url: str) -> str:
    """The URL for messages and records: without query, where signed links keep their secret."""
    parts = urlsplit(url)
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")[:300]


def _next(here: str, location: str, start: str) -> str:
    try:
        there = urljoin(here, location)
        downgrade = urlsplit(here).scheme == "https" and urlsplit(there).scheme == "http"
    except ValueError as error:
        raise _refused(start, "it redirects to something that is no URL") from error
    if downgrade:
        raise _refused(start, f"it redirects from https to plain http ({shown(there)})")
    return there


@dataclass(frozen=True, slots=True)
class _Request:
    """One hop, taken apart."""

    host: str
    port: int
    secure: bool
    target: str
    """Path and query."""
    headers: Mapping[str, str]


def _get(url: str, headers: Mapping[str, str], guard: Guard) -> Answer:
    problem = urls.static_problem(url, guard.allow_hosts)
    if problem:
        raise _refused(url, problem)
    request = _request(url, headers)
    addresses = _addresses(url, request.host, request.port, guard)
    try:
        return _first_answer(addresses, request, guard)
    except SSLError as error:
        raise _tls(url, error) from error
    except HTTPError as error:
        raise Transient(f"{shown(url)}: {_plain(error)}") from error


def _request(url: str, headers: Mapping[str, str]) -> _Request:
    parts = urlsplit(url)
    secure = parts.scheme.lower() == "https"
    host = urls.canonical_host(parts.hostname or "") or ""
    name = f"[{host}]" if ":" in host else host
    sent = {**headers, "Host": f"{name}:{parts.port}" if parts.port else name}
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Request(host, parts.port or (443 if secure else 80), secure, target, sent)


def _addresses(url: str, host: str, port: int, guard: Guard) -> Sequence[str]:
    """Where to connect: all of a name's addresses are allowed, or none is used."""
    literal = urls.literal_address(host)
    addresses = [str(literal)] if literal else _resolved(url, host, port, guard)
    for address in addresses:
        problem = urls.address_problem(address, guard.allow_hosts, host)
        if problem:
            hint = "if that host is yours, list it in the allowed hosts"
            raise _refused(url, f"{problem} ({host} is {address}); {hint}")
    return addresses


def _resolved(url: str, host: str, port: int, guard: Guard) -> Sequence[str]:
    def ask() -> Sequence[str]:
        try:
            found = guard.resolve(host, port)
        except UnicodeError as error:
            raise _refused(url, urls.INVALID) from error
        except OSError as error:
            what = f"the name {host} cannot be resolved ({error.strerror or error})"
            raise Transient(f"{shown(url)}: {what}") from error
        if not found:
            raise Transient(f"{shown(url)}: the name {host} has no address")
        return found

    return patiently(ask, guard.name_patience)


def _first_answer(addresses: Sequence[str], request: _Request, guard: Guard) -> Answer:
    for address in addresses[:-1]:
        try:
            return _ask(address, request, guard)
        except (NewConnectionError, ConnectTimeoutError):
            continue
    return _ask(addresses[-1], request, guard)


def _ask(address: str, request: _Request, guard: Guard) -> Answer:
    return _pool(address, request, guard).urlopen(
        "GET",
        request.target,
        headers=dict(request.headers),
        retries=False,
        redirect=False,
        assert_same_host=False,
        preload_content=False,
        decode_content=False,
    )


def _pool(address: str, request: _Request, guard: Guard) -> urllib3.HTTPConnectionPool:
    """Connections to this address only; certificates are checked for the host's name."""
    timeout = urllib3.Timeout(connect=guard.connect_timeout_s, read=guard.silence_timeout_s)
    if not request.secure:
        return urllib3.HTTPConnectionPool(address, request.port, timeout=timeout)
    return urllib3.HTTPSConnectionPool(
        address,
        request.port,
        timeout=timeout,
        ssl_context=_trust(guard.ca_file),
        server_hostname=request.host,
    )


def _trust(ca_file: str | None) -> ssl.SSLContext:
    if ca_file:
        return ssl.create_default_context(cafile=ca_file)
    context = ssl.create_default_context()
    if not {"SSL_CERT_FILE", "SSL_CERT_DIR"} & os.environ.keys():
        context.load_verify_locations(certifi.where())
    return context


def _tls(url: str, error: SSLError) -> Failure | Transient:
    cause = error.args[0] if error.args else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        hint = "its authority must be among the trusted ones (SSL_CERT_FILE)"
        return _refused(
            url, f"the server's certificate is not valid ({cause.verify_message}); {hint}"
        )
    return Transient(f"{shown(url)}: TLS failed ({_plain(error)})")


def _refused(url: str, what: str) -> Failure:
    return Failure(Kind.BAD_CONFIG, f"{shown(url)}: {printable(what)}")


def _plain(error: Exception) -> str:
    """urllib3's words without the objects' addresses that it puts before a colon."""
    return printable(str(error).rpartition(">: ")[2] or type(error).__name__)[:200]
