"""One HTTP request to a registry, done right: login, redirects, timeouts, the kind of failure.

registry.py hands it the session that oras made. Nothing here knows what is in a request. Raises
Transient for what may pass (retry.py tries again) and Failure for what cannot.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from requests.utils import should_bypass_proxies

from tuning.failure import Failure, Kind
from tuning.images import refusal
from tuning.images.authorization import Authorizer, Challenge, parse_challenge
from tuning.images.connection import Options, is_loopback, speaks_tls
from tuning.images.credentials import Credentials
from tuning.reference import Reference
from tuning.retry import Transient, patiently

Body = bytes | Callable[[], Any] | None
"""Bytes, or a function that opens the same sized stream again for another attempt."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_log = logging.getLogger(__name__)


class Transport:
    """Requests about repositories. Credentials and tokens are kept by registry."""

    def __init__(
        self, session: requests.Session, credentials: Credentials, options: Options
    ) -> None:
        # Else .netrc and proxy variables would replace headers and routes behind our back.
        session.trust_env = False
        session.headers.update({"User-Agent": "tunery", "Accept-Encoding": "identity"})
        self.options = options
        self.authorizer = Authorizer(credentials, self._fetch_token, options.insecure_hosts)
        self._session = session
        self._schemes: dict[str, str] = {}

    def url(self, reference: Reference, path: str) -> str:
        """`path` below the repository: `blobs/sha256:…`, `manifests/v1`."""
        base = f"{self.scheme(reference.host)}://{reference.host}/v2/"
        return f"{base}{reference.repository}/{path}" if path else base

    def scheme(self, host: str) -> str:
        if host in self.options.insecure_hosts:
            return "http"
        if not is_loopback(host):
            return "https"
        if host not in self._schemes:
            answer = speaks_tls(host)
            if answer is None:
                return "http"
            self._schemes[host] = "https" if answer else "http"
        return self._schemes[host]

    def ask(
        self,
        reference: Reference,
        actions: str,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: Body = None,
        stream: bool = False,
    ) -> requests.Response:
        """`send`, again and again while that may help."""
        return patiently(
            lambda: self.send(reference, actions, method, url, headers, body, stream),
            self.options.patience,
        )

    def send(
        self,
        reference: Reference,
        actions: str,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: Body = None,
        stream: bool = False,
    ) -> requests.Response:
        """The answer, whatever its status, but for those that may pass: they raise Transient."""
        for _ in range(_MOST_REDIRECTS):
            answer = self._with_login(reference, actions, method, url, headers or {}, body, stream)
            if answer.status_code in refusal.TRANSIENT:
                with answer:
                    raise refusal.transient(answer, reference.registry)
            if method not in ("GET", "HEAD") or answer.status_code not in _REDIRECTS:
                return answer
            answer.close()
            url = self.location(answer, reference)
        what = f"{reference.registry} redirects in a circle"
        raise Failure(Kind.UNAVAILABLE, f"{what}; ask whoever runs the registry")

    def location(self, answer: requests.Response, reference: Reference) -> str:
        """The absolute address that an answer sends us to. Raises Failure if it is not https."""
        url = urljoin(answer.url, answer.headers.get("Location", ""))
        parts = urlsplit(url)
        own = urlsplit(self.url(reference, ""))
        if parts.scheme == "http" and parts.hostname == own.hostname and own.scheme == "https":
            # A registry behind a TLS proxy that does not know it: keep to https.
            netloc = own.netloc if parts.port is None else parts.netloc
            return urlunsplit(parts._replace(scheme="https", netloc=netloc))
        plain_is_fine = parts.netloc in self.options.insecure_hosts or is_loopback(parts.netloc)
        if parts.scheme == "https" or (parts.scheme == "http" and plain_is_fine):
            return url
        what = f"{reference.registry} sends us to an address that is not https"
        raise Failure(Kind.UNAVAILABLE, f"{what}; ask whoever runs the registry")

    def refused(self, answer: requests.Response, reference: Reference, actions: str) -> Failure:
        """The sentence for a 401 or 403."""
        challenge = _challenge(answer)
        login = self.authorizer.login(reference)
        hosts = self.authorizer.hosts()
        return refusal.no_access(answer, reference, actions, login, hosts, challenge)

    def _with_login(
        self,
        reference: Reference,
        actions: str,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Body,
        stream: bool,
    ) -> requests.Response:
        """With the header that the registry is known to want; once more if it wants another."""
        own = _origin(url) == _origin(self.url(reference, ""))
        shown = self.authorizer.header(reference, actions) if own else None
        answer = self._once(method, url, _authorized(headers, shown), body, stream)
        challenge = _challenge(answer)
        if answer.status_code != 401 or not own or challenge is None:
            return answer
        self.authorizer.learn(reference, challenge)
        wanted = self.authorizer.header(reference, actions)
        if wanted is None or wanted == shown:
            return answer
        answer.close()
        return self._once(method, url, _authorized(headers, wanted), body, stream)

    def _once(
        self, method: str, url: str, headers: dict[str, str], body: Body, stream: bool
    ) -> requests.Response:
        host = urlsplit(url).netloc.rpartition("@")[2]
        options = self.options
        streamed = callable(body)
        try:
            answer = self._session.request(
                method,
                url,
                headers=headers,
                data=body() if callable(body) else body,
                stream=stream,
                allow_redirects=False,
                timeout=(options.connect_s, options.commit_s if streamed else options.read_s),
                verify=str(options.ca_file) if options.ca_file else True,
                proxies=self._proxies(url),
            )
        except requests.RequestException as error:
            raise refusal.broken(error, host) from error
        _log.debug("%s %s → %d", method, urlsplit(url).path, answer.status_code)
        return answer

    def _proxies(self, url: str) -> dict[str, str]:
        if should_bypass_proxies(url, no_proxy=self.options.no_proxy):
            return {}
        return dict(self.options.proxies)

    def _fetch_token(
        self, method: str, url: str, parameters: dict[str, str], header: str | None
    ) -> requests.Response:
        host = urlsplit(url).netloc
        try:
            answer = self._session.request(
                method,
                url,
                params=parameters if method == "GET" else None,
                data=parameters if method == "POST" else None,
                headers=_authorized({}, header),
                allow_redirects=False,
                timeout=(self.options.connect_s, self.options.read_s),
                verify=str(self.options.ca_file) if self.options.ca_file else True,
                proxies=self._proxies(url),
            )
        except requests.RequestException as error:
            raise refusal.broken(error, host) from error
        if answer.status_code in refusal.TRANSIENT:
            raise refusal.transient(answer, host)
        return answer


def checked(answer: requests.Response, reference: Reference, *statuses: int) -> None:
    """Raises Transient unless the answer has one of these statuses: the upload starts anew."""
    if answer.status_code not in statuses:
        raise Transient(f"{reference.registry} answers {refusal.said(answer)}")


def _authorized(headers: dict[str, str], header: str | None) -> dict[str, str]:
    return headers | {"Authorization": header} if header else headers


def _challenge(answer: requests.Response) -> Challenge | None:
    return parse_challenge(answer.headers.get("WWW-Authenticate", ""))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
