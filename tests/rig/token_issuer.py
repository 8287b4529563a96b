"""The other half of a token registry: GET/POST /token with Basic or a refresh token → a JWT.

Spec: distribution's "Docker Registry v2 authentication". Two users: `pusher` may pull and push,
`reader` may only pull; the issuer grants less than was asked rather than refusing, as real ones do.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from rig.certs import Authority, authority

SERVICE = "test-registry"
ISSUER = "test-issuer"
REFRESH_TOKEN = "refresh-me"


@dataclass
class TokenIssuer:
    """A running issuer. `requests` is what it was asked, oldest first."""

    realm: str
    bundle: Path
    """The certificate that the registry must trust (auth.token.rootcertbundle)."""
    lifetime_s: int = 300
    """Negative: tokens are expired when given out (the registry allows 60 s of leeway)."""
    requests: list[Mapping[str, str]] = field(default_factory=list)


@contextmanager
def running_issuer(
    folder: Path, passwords: Mapping[str, str], actions: Mapping[str, tuple[str, ...]]
) -> Iterator[TokenIssuer]:
    """An issuer on the loopback that knows `passwords` and grants `actions` by user."""
    signer = authority(folder / "signer", "Token signer")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    issuer = TokenIssuer(f"http://127.0.0.1:{server.server_port}/token", signer.file)
    server.RequestHandlerClass = _handler(issuer, signer, passwords, actions)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(
    issuer: TokenIssuer,
    signer: Authority,
    passwords: Mapping[str, str],
    actions: Mapping[str, tuple[str, ...]],
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
            user = _basic_user(self.headers.get("Authorization"), passwords)
            self._answer("GET", query, user)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {k: v[0] for k, v in parse_qs(body).items()}
            good = form.get("refresh_token") == REFRESH_TOKEN
            self._answer("POST", form, "pusher" if good else None)

        def _answer(self, method: str, asked: dict[str, str], user: str | None) -> None:
            scope = asked.get("scope", "")
            issuer.requests.append({"method": method, "scope": scope, "user": user or ""})
            if user is None:
                self._send(401, '{"details": "incorrect username or password"}')
            else:
                token = _token(signer, issuer.lifetime_s, user, scope, actions.get(user, ()))
                key = "access_token" if method == "POST" else "token"
                self._send(200, f'{{"{key}": "{token}"}}')

        def _send(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _basic_user(header: str | None, passwords: Mapping[str, str]) -> str | None:
    """The user's name; "" without credentials; None when the password is wrong."""
    if header is None:
        return ""
    scheme, _, encoded = header.partition(" ")
    user, _, password = base64.b64decode(encoded).decode().partition(":")
    return user if scheme == "Basic" and passwords.get(user) == password else None


def _token(
    signer: Authority, lifetime_s: int, user: str, scope: str, allowed: tuple[str, ...]
) -> str:
    now = int(time.time())
    access = []
    for part in scope.split():
        kind, name, wanted = part.split(":")
        granted = [a for a in wanted.split(",") if a in allowed]
        access.append({"type": kind, "name": name, "actions": granted})
    claims = {
        "iss": ISSUER,
        "sub": user,
        "aud": SERVICE,
        "nbf": now - 1000,
        "iat": now - 1000,
        "exp": now + lifetime_s,
        "access": access,
    }
    der = signer.certificate.public_bytes(serialization.Encoding.DER)
    headers = {"x5c": [base64.b64encode(der).decode()]}
    return jwt.encode(claims, signer.key, algorithm="ES256", headers=headers)
