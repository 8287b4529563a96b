"""Registry logins: docker's config.json, from a mounted Secret or the user's own folder.

Read anew whenever a login is asked for, because Secrets are rotated under a running pod (an ECR
password lives 12 hours). No message, log line or repr ever has a secret in it.
Formats: docker's config.json (`auths`), `kubernetes.io/dockerconfigjson` and the older
`kubernetes.io/dockercfg`; matching as the kubelet does (credentialprovider/keyring.go).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuning.failure import Failure, Kind
from tuning.images import credential_helper
from tuning.reference import Reference

_SECRET_FILES = (".dockerconfigjson", "config.json", ".dockercfg")
"""The names in a folder: a mounted Secret of either type, or a ~/.docker."""
_LONGEST_BYTES = 1024 * 1024
_HUB_NAMES = {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}


@dataclass(frozen=True, slots=True)
class Login:
    """Who to be at one registry: a user and password, or an identity (refresh) token."""

    user: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files to look into, first one first."""

    paths: tuple[Path, ...] = ()
    helpers: bool = False
    """May run docker-credential-X programs: only from a user's own configuration."""

    @classmethod
    def load(cls, paths: Iterable[str | Path]) -> Credentials:
        """Credentials in these files or Secret folders. Raises Failure if one cannot be read."""
        found = cls(tuple(Path(path) for path in paths))
        found._configs()
        return found

    @classmethod
    def of_user(cls, environ: Mapping[str, str]) -> Credentials:
        """What `docker login` or `podman login` left for the person at the command line."""
        if chosen := environ.get("REGISTRY_AUTH_FILE"):
            return cls((Path(chosen),), helpers=True)
        home = environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME", ""), ".docker")
        file = Path(home) / "config.json"
        return cls((file,) if file.is_file() else (), helpers=True)

    def for_(self, reference: Reference) -> Login | None:
        """The login of the most specific entry for this image. Raises Failure on a broken file."""
        for config in self._configs():
            entry = _best(config.get("auths"), reference)
            login = _login(entry) if entry else None
            if login is None and self.helpers:
                login = _from_helper(config, reference)
            if login is not None:
                return login
        return None

    def hosts(self) -> tuple[str, ...]:
        """The registries that the files have a login for, for a message."""
        keys = (key for config in self._configs() for key in config.get("auths") or {})
        return tuple(sorted({"/".join(filter(None, _key(key))) for key in keys}))

    def _configs(self) -> list[dict[str, Any]]:
        return [_read(path) for path in self.paths]


def _read(path: Path) -> dict[str, Any]:
    """One file's content in the shape of config.json."""
    try:
        file = _file(path)
        content = file.read_bytes() if file.stat().st_size <= _LONGEST_BYTES else b""
    except OSError as error:
        sentence = f"the registry credentials at {path} cannot be read: {error.strerror}"
        raise Failure(Kind.NO_ACCESS, sentence) from error
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        # The error's text would quote the secret.
        found = None
    if isinstance(found, dict) and "auths" not in found and _is_dockercfg(found):
        found = {"auths": found}
    if not isinstance(found, dict) or not isinstance(found.get("auths") or {}, dict):
        what = f"the registry credentials at {path} are not a docker config.json"
        raise Failure(
            Kind.NO_ACCESS, f"{what}; make the Secret with kubectl create secret docker-registry"
        )
    return found


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in _SECRET_FILES:
        if (path / name).is_file():
            return path / name
    raise FileNotFoundError(2, f"no {' or '.join(_SECRET_FILES)} in the folder")


def _is_dockercfg(found: dict[str, Any]) -> bool:
    """The older form is `auths` without its wrapping."""
    return bool(found) and all(
        isinstance(v, dict) and {"auth", "username", "password"} & set(v) for v in found.values()
    )


def _best(auths: object, reference: Reference) -> Mapping[str, Any] | None:
    """The usable entry whose key says most: longest path, then an exact host before a pattern."""
    best: tuple[tuple[int, bool, str], Mapping[str, Any]] | None = None
    for text, entry in (auths if isinstance(auths, dict) else {}).items():
        host, path = _key(text)
        if not isinstance(entry, dict) or not _host_matches(host, _key(reference.registry)[0]):
            continue
        if not _path_matches(path, reference.repository) or _login(entry) is None:
            continue
        rank = (path.count("/") + bool(path), "*" not in host, host)
        if best is None or rank > best[0]:
            best = rank, entry
    return best[1] if best else None


def _key(text: str) -> tuple[str, str]:
    """`https://Host/v1/`, `host/v2/`, `host/path` → host, path; Docker Hub has one name."""
    bare = text.strip().split("://")[-1].strip("/")
    host, _, path = bare.partition("/")
    if path in ("v1", "v2"):
        path = ""
    host = host.lower()
    return "docker.io" if host in _HUB_NAMES else host, path


def _host_matches(pattern: str, host: str) -> bool:
    """`*` stands for letters within one label, as in the kubelet; ports must be equal."""
    wanted, found = pattern.split("."), host.lower().split(".")
    return len(wanted) == len(found) and all(
        _label_matches(w, f) for w, f in zip(wanted, found, strict=True)
    )


def _label_matches(pattern: str, label: str) -> bool:
    if "*" not in pattern:
        return pattern == label
    start, _, end = pattern.partition("*")
    return (
        len(label) >= len(start) + len(end)
        and label.startswith(start)
        and label.endswith(end)
        and "*" not in end
    )


def _path_matches(path: str, repository: str) -> bool:
    return not path or repository == path or repository.startswith(f"{path}/")


def _login(entry: Mapping[str, Any]) -> Login | None:
    """`identitytoken`, `auth` (base64 of user:password, maybe wrapped) or the two in clear."""
    user, password = entry.get("username"), entry.get("password")
    if isinstance(entry.get("auth"), str) and entry["auth"].strip():
        user, password = _decoded(entry["auth"])
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Login(user if isinstance(user, str) else "", identity_token=token)
    if isinstance(user, str) and user and isinstance(password, str) and password:
        return Login(user, password)
    return None


def _decoded(auth: str) -> tuple[str | None, str | None]:
    try:
        text = base64.b64decode("".join(auth.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None, None
    user, colon, password = text.partition(":")
    # Docker pads some of its own with zero bytes.
    return (user, password.strip("\0")) if colon else (None, None)


def _from_helper(config: Mapping[str, Any], reference: Reference) -> Login | None:
    helpers = config.get("credHelpers")
    by_host = helpers.get(reference.registry) if isinstance(helpers, dict) else None
    name = by_host or config.get("credsStore")
    if not isinstance(name, str) or not name:
        return None
    found = credential_helper.ask(name, reference.registry)
    if found is None:
        return None
    user, secret = found
    return Login("", identity_token=secret) if user == "<token>" else Login(user, secret)
