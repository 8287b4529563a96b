"""A proxy that stands between a client and a real server, misbehaves on order, and keeps a log.

    with running_proxy(registry.host) as proxy:
        proxy.rules.append(Rule("PUT", "/blobs/uploads/", Status(503)))
        push(f"{proxy.host}/x:v1")
        assert [r.status for r in proxy.log_of("PUT")] == [503, 201, 201]

A rule applies to the first `times` requests that match it, after the first `after` that it lets
pass. Without a rule, requests go through unchanged; a server that is down is a 502.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BLOCK = 64 * 1024
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length"}


@dataclass(frozen=True)
class Status:
    """Answer with this status after reading the whole request; the server sees nothing."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class CutRequest:
    """Read this many bytes of the request's body, pass them on, then drop both connections."""

    after_bytes: int


@dataclass(frozen=True)
class CutResponse:
    """Send this many bytes of the response's body, then drop the connection."""

    after_bytes: int


@dataclass(frozen=True)
class Corrupt:
    """Flip one bit of the response's body, at this offset."""

    at_byte: int = 0


@dataclass(frozen=True)
class Replace:
    """Pass the request on, but change the response: other headers, or another body."""

    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Silence:
    """Take the request and say nothing, until the proxy stops."""


@dataclass(frozen=True)
class Hold:
    """Stop in the request's body after this many bytes: `reached` is set; goes on at `release`."""

    after_bytes: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


Action = Status | CutRequest | CutResponse | Corrupt | Replace | Silence | Hold


@dataclass
class Rule:
    """Method and path are regular expressions; the path's is searched, with its query."""

    method: str
    path: str
    action: Action
    times: int = 1
    after: int = 0


@dataclass
class Seen:
    """One request as it arrived, and how it ended (status 0: it was dropped)."""

    method: str
    path: str
    headers: Mapping[str, str]
    body_bytes: int = 0
    status: int = 0


@dataclass
class FaultProxy:
    """A running proxy."""

    host: str
    upstream: str
    rules: list[Rule] = field(default_factory=list)
    log: list[Seen] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def log_of(self, method: str, path: str = "") -> list[Seen]:
        """The requests with this method whose path matches, oldest first."""
        return [s for s in self.log if s.method == method and re.search(path, s.path)]

    def action_for(self, seen: Seen) -> Action | None:
        with self._lock:
            self.log.append(seen)
            for rule in self.rules:
                if not re.fullmatch(rule.method, seen.method) or not re.search(
                    rule.path, seen.path
                ):
                    continue
                if rule.after > 0:
                    rule.after -= 1
                elif rule.times > 0:
                    rule.times -= 1
                    return rule.action
            return None


@contextmanager
def running_proxy(upstream: str, port: int = 0) -> Iterator[FaultProxy]:
    """A proxy on this loopback port (0: a free one), before `upstream` (host:port, plain http)."""
    server = ThreadingHTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler)
    server.daemon_threads = True
    proxy = FaultProxy(f"127.0.0.1:{server.server_port}", upstream)
    server.RequestHandlerClass = _handler(proxy)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a dropped client is wanted
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Dropped(Exception):
    """The connection ends here, on purpose or not."""


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            seen = Seen(self.command, self.path, dict(self.headers.items()))
            try:
                self._act(seen, proxy.action_for(seen))
            except (_Dropped, OSError, http.client.HTTPException):
                self.close_connection = True
                _drop(self.connection)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def _act(self, seen: Seen, action: Action | None) -> None:
            if isinstance(action, Status):
                for block in self._body(seen, None):
                    del block
                self._respond(seen, action.code, action.headers, action.body)
            elif isinstance(action, Silence):
                proxy.stopping.wait()
                raise _Dropped
            else:
                self._forward(seen, action)

        def _forward(self, seen: Seen, action: Action | None) -> None:
            upstream = http.client.HTTPConnection(proxy.upstream, timeout=60)
            try:
                try:
                    upstream.connect()
                except ConnectionRefusedError:
                    for block in self._body(seen, None):
                        del block
                    self._respond(seen, 502, {}, b"upstream is down")
                    return
                self._send(upstream, seen, action)
                try:
                    response = upstream.getresponse()
                    body = response.read()
                except (OSError, http.client.HTTPException):
                    self._respond(seen, 502, {}, b"upstream went away")
                    return
            finally:
                upstream.close()
            headers = {k: v for k, v in response.getheaders() if k.lower() not in _HOP_BY_HOP}
            if isinstance(action, Replace):
                headers |= action.headers
                body = body if action.body is None else action.body
            length = response.getheader("Content-Length") if self.command == "HEAD" else None
            self._respond(seen, response.status, headers, body, action, length)

        def _send(
            self, upstream: http.client.HTTPConnection, seen: Seen, action: Action | None
        ) -> None:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders()
            for block in self._body(seen, action):
                try:
                    upstream.send(block)
                except OSError:
                    # The server answered early and closed: its answer is still to be read.
                    continue

        def _body(self, seen: Seen, action: Action | None) -> Iterator[bytes]:
            left = int(self.headers.get("Content-Length") or 0)
            stop = action.after_bytes if isinstance(action, CutRequest | Hold) else None
            while left or stop == 0:
                if stop is not None and seen.body_bytes >= stop:
                    if isinstance(action, CutRequest):
                        raise _Dropped
                    if isinstance(action, Hold):
                        action.reached.set()
                        _wait(action.release, proxy.stopping)
                    stop = None
                    continue
                most = _BLOCK if stop is None else min(_BLOCK, stop - seen.body_bytes)
                block = self.rfile.read1(min(left, most))
                if not block:
                    raise _Dropped
                seen.body_bytes += len(block)
                left -= len(block)
                yield block

        def _respond(
            self,
            seen: Seen,
            status: int,
            headers: Mapping[str, str],
            body: bytes,
            action: Action | None = None,
            length: str | None = None,
        ) -> None:
            seen.status = status
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if isinstance(action, CutResponse):
                self.wfile.write(body[: action.after_bytes])
                raise _Dropped
            if isinstance(action, Corrupt) and len(body) > action.at_byte:
                changed = bytearray(body)
                changed[action.at_byte] ^= 1
                body = bytes(changed)
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _wait(release: threading.Event, stopping: threading.Event) -> None:
    while not release.wait(0.05):
        if stopping.is_set():
            raise _Dropped


def _drop(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
