"""Which Authorization header goes to which registry: Basic, or a Bearer token fetched for a scope.

Spec: distribution's token and OAuth2 authentication (docs/spec/auth). Everything is kept by host
and scope, so no credential and no token ever reaches another registry.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

from tuning.failure import Failure, Kind
from tuning.images.connection import is_loopback
from tuning.images.credentials import Credentials, Login
from tuning.reference import Reference

PULL = "pull"
PUSH = "pull,push"
DELETE = "delete"

# The token spec's default when expires_in is missing; tokens are given up a little earlier.
_LIFETIME_S = 60
_MARGIN_S = 5
# ACR names this user for an identity token, and takes any.
_CLIENT = "tunery"
_CHALLENGE = re.compile(r"(?i)(?:^|,)\s*(basic|bearer)\s+")
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry wants to see: `WWW-Authenticate` of a 401."""

    scheme: str
    """`basic` or `bearer`."""
    realm: str = ""
    service: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    until: float


Fetch = Callable[[str, str, dict[str, str], str | None], requests.Response]
"""(method, URL, parameters, Authorization) → answer of a token endpoint."""


def parse_challenge(header: str) -> Challenge | None:
    """The first Bearer challenge of a header, else the first Basic one, else None (RFC 9110)."""
    found: dict[str, Challenge] = {}
    starts = list(_CHALLENGE.finditer(header))
    ends = [*(start.start() for start in starts), len(header)][1:]
    for start, end in zip(starts, ends, strict=False):
        text = header[start.end() : end]
        values = {
            m[1].lower(): m[2] if m[2] is not None else m[3] for m in _PARAMETER.finditer(text)
        }
        challenge = Challenge(
            start[1].lower(),
            values.get("realm", ""),
            values.get("service", ""),
            values.get("error", ""),
        )
        found.setdefault(challenge.scheme, challenge)
    return found.get("bearer") or found.get("basic")


class Authorizer:
    """Headers for requests, learned from what registries asked for."""

    def __init__(
        self, credentials: Credentials, fetch: Fetch, insecure_hosts: frozenset[str]
    ) -> None:
        self._credentials = credentials
        self._fetch = fetch
        self._insecure_hosts = insecure_hosts
        self._challenges: dict[str, Challenge] = {}
        self._tokens: dict[tuple[str, str], _Token] = {}

    def login(self, reference: Reference) -> Login | None:
        return self._credentials.for_(reference)

    def hosts(self) -> tuple[str, ...]:
        return self._credentials.hosts()

    def header(self, reference: Reference, actions: str) -> str | None:
        """The header for a request about this repository; None where nothing is asked for.

        Raises Failure (NO_ACCESS) when the token endpoint refuses the login.
        """
        challenge = self._challenges.get(reference.host)
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            login = self.login(reference)
            return login.basic() if login and login.password else None
        scope = f"repository:{reference.repository}:{actions}"
        token = self._tokens.get((reference.host, scope))
        if token is None or token.until < time.monotonic():
            token = self._new_token(reference, challenge, scope)
            self._tokens[reference.host, scope] = token
        return f"Bearer {token.value}" if token.value else None

    def learn(self, reference: Reference, challenge: Challenge) -> None:
        """Take note of a challenge; tokens that did not satisfy it are thrown away."""
        self._challenges[reference.host] = challenge
        self.forget(reference)

    def forget(self, reference: Reference) -> None:
        """Throw away the tokens for this registry: one may have expired under an upload."""
        for host, scope in list(self._tokens):
            if host == reference.host:
                del self._tokens[host, scope]

    def _new_token(self, reference: Reference, challenge: Challenge, scope: str) -> _Token:
        self._check_realm(reference, challenge.realm)
        login = self.login(reference)
        parameters = {"service": challenge.service, "scope": scope}
        if login and login.identity_token:
            parameters |= {"grant_type": "refresh_token", "client_id": _CLIENT}
            parameters |= {"refresh_token": login.identity_token}
            answer = self._fetch("POST", challenge.realm, parameters, None)
        else:
            header = login.basic() if login else None
            answer = self._fetch("GET", challenge.realm, parameters, header)
        return _token(answer, reference, login)

    def _check_realm(self, reference: Reference, realm: str) -> None:
        """The login goes to the realm: that must be https, or as trusted as the registry."""
        parts = urlsplit(realm)
        plain_is_fine = is_loopback(parts.netloc) or parts.netloc in self._insecure_hosts
        if parts.scheme == "https" or (parts.scheme == "http" and plain_is_fine):
            return
        what = f"{reference.registry} asks for the login to be sent to a place that is not https"
        raise Failure(Kind.NO_ACCESS, f"{what}; nothing was sent, ask whoever runs the registry")


def _token(answer: requests.Response, reference: Reference, login: Login | None) -> _Token:
    if answer.status_code in (400, 401, 403):
        if login is None:
            return _Token("", time.monotonic() + _LIFETIME_S)
        who = f"user {login.user}" if login.user else "the identity token"
        sentence = f"{reference.registry} refused {who}; check the password in the credentials"
        raise Failure(Kind.NO_ACCESS, sentence)
    try:
        body = answer.json()
        value = body.get("token") or body.get("access_token")
        lifetime_s = float(body.get("expires_in") or _LIFETIME_S)
    except (ValueError, AttributeError, TypeError, RecursionError):
        value = None
    usable = isinstance(value, str) and value.isascii() and value.isprintable()
    if answer.status_code != 200 or not isinstance(value, str) or not usable:
        what = f"the token service of {reference.registry} answered {answer.status_code}"
        raise Failure(Kind.UNAVAILABLE, f"{what} without a token; run it again later")
    return _Token(value, time.monotonic() + max(lifetime_s - _MARGIN_S, 1))
