"""Which URLs data may come from: the rule, without touching the network.

Called at admission for the text a user wrote (`static_problem`) and again in the pod for every hop
and every address that a name resolves to (`address_problem`), because a redirect or DNS can point
elsewhere than the text says. Standard library only: the operator imports it.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# KAITO's own sentences (api/v1beta1/workspace_validation.go), so that scripts keep matching.
INVALID = "invalid data source URL"
WRONG_SCHEME = "data source URL must use HTTP or HTTPS"
LOCAL_NAME = "data source URL must not target a local or metadata endpoint"
PRIVATE_ADDRESS = "data source URL must not target a loopback, private, or link-local address"
# Ours, in the same voice.
USERINFO = "data source URL must not contain a user name or password"

_METADATA_NAMES = frozenset(
    {
        "metadata.google.internal",
        "metadata.google",
        "metadata.goog",
        "instance-data.ec2.internal",
        "instance-data",
        "metadata.azure.internal",
        "metadata",
    }
)
# Instance metadata: AWS/Azure/GCP, AWS over IPv6, Alibaba, Azure's wire server (a public range).
_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_LONGEST_URL = 8192
_LONGEST_HOST = 253


HUB_SCHEME = "hf://"
_HUB_DATASET = re.compile(
    r"hf://datasets/"
    r"(?P<id>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?P<at>@[\w./-]{1,200})?/?"
)


def hub_dataset(url: str) -> str | None:
    """`org/name` or `org/name@revision` of `hf://datasets/org/name[@revision]`, else None.

    The form of huggingface_hub's own file system; KAITO knows only http and https.
    """
    match = _HUB_DATASET.fullmatch(url)
    return match["id"] + (match["at"] or "") if match else None


def static_problem(url: str, allow_hosts: tuple[str, ...] = ()) -> str | None:
    """What is wrong with the URL as written, in KAITO's words; None when nothing is.

    `allow_hosts` names hosts (`minio.storage.svc`, `*.corp.example`) and networks (`10.0.0.0/8`)
    that may be private. Metadata endpoints stay refused whatever it says. Nothing is resolved.
    """
    if len(url) > _LONGEST_URL or any(c.isspace() or not c.isprintable() for c in url):
        return INVALID
    try:
        parts = urlsplit(url)
        raw_host, _ = parts.hostname, parts.port
    except ValueError:
        return INVALID
    if not raw_host or "\\" in url:
        return INVALID
    if parts.scheme.lower() not in ("http", "https"):
        return WRONG_SCHEME
    if "@" in parts.netloc:
        return USERINFO
    return _host_problem(raw_host, allow_hosts)


def address_problem(ip: str | Address, allow_hosts: tuple[str, ...], host: str) -> str | None:
    """Why the address that `host` resolved to must not be connected to; None when it may.

    A host that is allowed by name may have any address except a metadata one.
    """
    try:
        address = ipaddress.ip_address(str(ip))
    except ValueError:
        return INVALID
    meant = _inside(address)
    if any(a in _METADATA_ADDRESSES for a in (address, *meant)):
        return LOCAL_NAME
    if _name_allowed(host, allow_hosts) or _address_allowed(address, allow_hosts):
        return None
    if all(_public(a) or _address_allowed(a, allow_hosts) for a in meant):
        return None
    return PRIVATE_ADDRESS


def basename(url: str) -> str:
    """The file name a URL ends with, safe to use in a folder; "data" when it has none."""
    last = unquote(urlsplit(url).path).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    safe = re.sub(r"[^\w.+=-]", "_", last, flags=re.ASCII).lstrip(".")
    return safe[-120:] or "data"


def literal_address(host: str) -> Address | None:
    """The address that a host *is*, in any spelling a resolver would take; None for a name.

    Dotted, decimal, hexadecimal, octal and shortened IPv4 as inet_aton(3) reads them; IPv6.
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return _inet_aton(host)


def canonical_host(host: str) -> str | None:
    """The host as a resolver sees it: lower case, ASCII, no final dot; None when it is no host."""
    text = unicodedata.normalize("NFKC", host).lower().removesuffix(".")
    if not text.isascii():
        try:
            text = text.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    return text if text and len(text) <= _LONGEST_HOST else None


def _host_problem(raw_host: str, allow_hosts: tuple[str, ...]) -> str | None:
    host = canonical_host(raw_host)
    if host is None:
        return INVALID
    address = literal_address(host)
    if address is not None:
        return address_problem(address, allow_hosts, host)
    last = host.rsplit(".", 1)[-1]
    if not _HOST_NAME.fullmatch(host) or last.isdigit() or _number(last) is not None:
        return INVALID
    if host in _METADATA_NAMES:
        return LOCAL_NAME
    if _name_allowed(host, allow_hosts):
        return None
    return LOCAL_NAME if host == "localhost" or host.endswith(".localhost") else None


def _number(text: str) -> int | None:
    """One part of an IPv4 address as inet_aton reads it."""
    base = 16 if text[:2] == "0x" else 8 if text[:1] == "0" and len(text) > 1 else 10
    digits = text[2:] if base == 16 else text
    allowed = "0123456789abcdef"[:base]
    if any(c not in allowed for c in digits) or not text:
        return None
    return int(digits or "0", base)


def _inet_aton(host: str) -> ipaddress.IPv4Address | None:
    numbers = [_number(part) for part in host.split(".")]
    if not 1 <= len(numbers) <= 4 or any(n is None for n in numbers):
        return None
    *heads, tail = [n for n in numbers if n is not None]
    if any(n > 255 for n in heads) or tail >= 256 ** (4 - len(heads)):
        return None
    value = tail
    for position, head in enumerate(heads):
        value |= head << (24 - 8 * position)
    return ipaddress.IPv4Address(value)


def _inside(address: Address) -> tuple[Address, ...]:
    """The addresses that traffic really reaches: IPv4 carried inside IPv6 is taken out."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address.sixtofour:
        return (address.sixtofour,)
    if address.teredo:
        return address.teredo
    if address in _NAT64:
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    return (address,)


def _public(address: Address) -> bool:
    if address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.is_site_local):
        return False
    return address.is_global


def _name_allowed(host: str, allow_hosts: Iterable[str]) -> bool:
    name = canonical_host(host) or ""
    for entry in allow_hosts:
        allowed = entry.lower().removesuffix(".")
        if allowed.startswith("*.") and name.endswith(allowed[1:]) and name != allowed[1:]:
            return True
        if name == allowed:
            return True
    return False


def _address_allowed(address: Address, allow_hosts: Iterable[str]) -> bool:
    return any(address in network for network in _networks(allow_hosts))


def _networks(
    allow_hosts: Iterable[str],
) -> Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for entry in allow_hosts:
        try:
            yield ipaddress.ip_network(entry, strict=False)
        except ValueError:
            continue  # a host name
