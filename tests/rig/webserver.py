"""A web server on the loopback that misbehaves on order, and keeps a log.

    with running_webserver() as web:
        web.put("/rows.jsonl", Reply(503), Reply(body=DATA))
        fetch(web.url("/rows.jsonl"), …)
        assert [r.status for r in web.log] == [503, 200]

Replies of a path are given in turn, the last one again and again. Ranges are honoured when the
reply has an ETag. Names other than 127.0.0.1 are a matter of the client's resolver.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rig.certs import ServerFiles


@dataclass(frozen=True)
class Reply:
    """What to answer, and how to fail at it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""
    cut_after: int | None = None
    """Close the connection after this many bytes of the body."""
    silent_s: float = 0.0
    """Say nothing for this long after the headers."""
    ranges: bool = True
    length: bool = True
    """False: neither Content-Length nor chunks."""
    chunked: bool = False


@dataclass(frozen=True)
class Seen:
    path: str
    status: int
    headers: Mapping[str, str]


class WebServer:
    """The running server: what it answers, and what it was asked."""

    def __init__(self, scheme: str, port: int) -> None:
        self.scheme, self.port = scheme, port
        self.log: list[Seen] = []
        self._replies: dict[str, list[Reply]] = {}
        self._lock = threading.Lock()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def put(self, path: str, *replies: Reply) -> None:
        self._replies[path] = list(replies)

    def take(self, path: str) -> Reply:
        with self._lock:
            left = self._replies.get(path.partition("?")[0], [Reply(404, b"not here")])
            return left.pop(0) if len(left) > 1 else left[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: WebServer

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        reply = self.web.take(self.path)
        status, body, extra = _ranged(
            reply, self.headers.get("Range"), self.headers.get("If-Range")
        )
        self.web.log.append(Seen(self.path, status, dict(self.headers)))
        self.send_response(status)
        for name, value in {**reply.headers, **extra}.items():
            self.send_header(name, value)
        if reply.etag:
            self.send_header("ETag", reply.etag)
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif reply.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            time.sleep(reply.silent_s)
            self._send(body, reply)

    def _send(self, body: bytes, reply: Reply) -> None:
        sent = body if reply.cut_after is None else body[: reply.cut_after]
        try:
            if reply.chunked:
                for start in range(0, len(sent), 1000):
                    piece = sent[start : start + 1000]
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                sent = b"" if reply.cut_after is not None else b"0\r\n\r\n"
            self.wfile.write(sent)
        except ConnectionError:
            self.close_connection = True
        if reply.cut_after is not None or not reply.length:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the log is `web.log`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the game."""


def _ranged(
    reply: Reply, wanted: str | None, if_range: str | None
) -> tuple[int, bytes, dict[str, str]]:
    match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
    if not match or not reply.ranges or reply.status != 200 or if_range not in (None, reply.etag):
        return reply.status, reply.body, {}
    start, size = int(match[1]), len(reply.body)
    if start >= size:
        return 416, b"", {"Content-Range": f"bytes */{size}"}
    return 206, reply.body[start:], {"Content-Range": f"bytes {start}-{size - 1}/{size}"}


@contextmanager
def running_webserver(tls: ServerFiles | None = None) -> Iterator[WebServer]:
    class Handler(_Handler):
        pass

    server = _Server(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    web = WebServer("https" if tls else "http", server.server_address[1])
    Handler.web = web
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
