"""Image references: `registry/repository:tag@digest`, text ↔ parts.

Read by admission (jobs/validate.py), the command line and the transport alike. The grammar is that
of Docker and OCI (github.com/distribution/reference), with Docker's short forms: `foo` means
`docker.io/library/foo:latest`. Imports no third-party package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from presets.problem import shown

DEFAULT_TAG = "latest"
_HUB = "docker.io"
_LONGEST_NAME = 255

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""The only digest that Tunery computes or trusts."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One image in one registry; at least one of tag and digest is set by `parse`."""

    registry: str
    """Host with optional port, as written: `docker.io`, `localhost:5000`, `[::1]:5000`."""
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """`registry/repository`, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def host(self) -> str:
        """Where requests go: Docker Hub's registry lives on another host than its name."""
        return "registry-1.docker.io" if self.registry == _HUB else self.registry

    @property
    def target(self) -> str:
        """What the registry is asked for: the digest when there is one, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    def at(self, digest: str) -> Reference:
        """The same repository pinned to `digest`, without a tag: what a status should carry."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse(text: str) -> Reference:
    """The reference that `text` means. Raises ValueError with one sentence that says what to do."""
    if "://" in text:
        raise ValueError(f"{shown(text)} is a URL; leave out {text.split('://')[0]}://")
    rest, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise ValueError(
            f"{shown(text)}: after @ there must be sha256: and 64 lower-case hex digits"
        )
    name, tag = _split_tag(rest)
    if tag is not None and not _TAG.fullmatch(tag):
        raise ValueError(
            f"{shown(text)}: the tag {shown(tag)} may have letters, digits, _ . - (at most 128)"
        )
    registry, repository = _split_registry(name)
    _check_name(text, registry, repository)
    if tag is None and not digest:
        tag = DEFAULT_TAG
    return Reference(registry, repository, tag, digest or None)


def _split_tag(rest: str) -> tuple[str, str | None]:
    """`host:5000/name:tag` → (`host:5000/name`, `tag`): a colon before the last / is a port."""
    head, slash, last = rest.rpartition("/")
    component, colon, tag = last.partition(":")
    return head + slash + component, tag if colon else None


def _split_registry(name: str) -> tuple[str, str]:
    """Docker's rule: the first part is a host only with a dot, a port, or as `localhost`."""
    first, slash, rest = name.partition("/")
    is_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    registry, repository = (first, rest) if slash and is_host else (_HUB, name)
    if registry == "index.docker.io":
        registry = _HUB
    if registry == _HUB and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def _check_name(text: str, registry: str, repository: str) -> None:
    if not _HOST.fullmatch(registry):
        raise ValueError(f"{shown(text)}: {shown(registry)} is not a host name with optional port")
    port = re.search(r":([0-9]+)$", registry)
    if port and not 0 < int(port[1]) < 65536:
        raise ValueError(f"{shown(text)}: the port {port[1]} is not between 1 and 65535")
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError(f"{shown(text)}: {_about_repository(repository)}")
    if len(registry) + 1 + len(repository) > _LONGEST_NAME:
        raise ValueError(f"{shown(text)}: the name is longer than {_LONGEST_NAME} characters")


def _about_repository(repository: str) -> str:
    if _REPOSITORY.fullmatch(repository.lower()):
        return f"a repository is lower case; write {repository.lower()}"
    return (
        "write registry/repository:tag, where a repository has lower-case letters and digits, "
        "with . _ - / between them"
    )
