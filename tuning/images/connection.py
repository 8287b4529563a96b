"""How to reach registries: plain http or https, which CA, which proxy, how long to wait.

Decisions only; transport.py acts on them.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tuning.retry import Patience

_PROBE_S = 3
_SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of one Registry. Times are in seconds."""

    insecure_hosts: frozenset[str] = frozenset()
    """Registries (host:port) that speak plain http. Loopback hosts need not be named: those are
    asked, as docker does. Any other host gets https, always."""
    ca_file: Path | None = None
    """Trusted instead of the usual certificate authorities."""
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Scheme → proxy URL. The environment is never consulted behind the caller's back."""
    no_proxy: str = ""
    connect_s: float = 15
    """Also the longest that sending one block of 256 KiB may take."""
    read_s: float = 60
    commit_s: float = 600
    """For the answer to an upload: a registry on object storage copies before it answers."""
    patience: Patience = field(default_factory=Patience)
    monolithic_max_bytes: int = 1024**3
    """Larger blobs go up in chunks; lower it to get past a proxy's limit on bodies."""
    chunk_bytes: int = 64 * 1024**2


def from_environment(environ: Mapping[str, str]) -> Options:
    """The proxies and the CA that a person's shell names; for the command line, never for a pod."""

    def value(*names: str) -> str:
        return next((environ[name] for name in names if environ.get(name)), "")

    proxies = {scheme: value(f"{scheme}_proxy", f"{scheme.upper()}_PROXY") for scheme in _SCHEMES}
    ca = value("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    return Options(
        ca_file=Path(ca) if ca else None,
        proxies={scheme: url for scheme, url in proxies.items() if url},
        no_proxy=value("no_proxy", "NO_PROXY"),
    )


def is_loopback(host: str) -> bool:
    """Whether `host` (with optional port) is this machine, by its spelling alone."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def speaks_tls(host: str) -> bool | None:
    """Whether a server on the loopback answers a TLS handshake; None: nobody is there.

    Nothing secret is sent.
    """
    name, _, port = host.rpartition(":") if ":" in host.rpartition("]")[2] else (host, "", "443")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        address = name.strip("[]"), int(port)
        with (
            socket.create_connection(address, timeout=_PROBE_S) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except (ssl.SSLError, TimeoutError):
        return False
    except (OSError, ValueError):
        return None
