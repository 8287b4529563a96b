"""A hub on 127.0.0.1: what huggingface_hub asks of one, over folders of the test.

`with hub({"models/org/name": folder}) as server:` and point HF_ENDPOINT at `server.url`. Switches:
`server.token` (then every repo is gated), `server.failures` (statuses answered first, in order).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """A running hub and its log of (method, path)."""

    url: str
    repos: Mapping[str, Path]
    token: str | None = None
    failures: list[int] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)

    def commit(self, repo: str) -> str:
        """The one commit of a repo: 40 hex digits made from its files."""
        names = [f"{p.relative_to(self.repos[repo])}" for p in files(self.repos[repo])]
        return hashlib.sha1("\n".join([repo, *names]).encode()).hexdigest()


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


@contextmanager
def hub(repos: Mapping[str, Path]) -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    found = Hub(f"http://127.0.0.1:{server.server_address[1]}", repos)
    server.found = found  # type: ignore[attr-defined]  # the handler's way to its hub
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        found: Hub = self.server.found  # type: ignore[attr-defined]  # set in hub()
        path = unquote(urlsplit(self.path).path)
        found.log.append((self.command, path))
        if found.failures and "/org/" in path:
            return self._send(found.failures.pop(0), b"{}")
        if path.startswith("/api/"):
            return self._api(found, path.removeprefix("/api/"))
        kind, rest = (
            ("datasets", path[10:]) if path.startswith("/datasets/") else ("models", path[1:])
        )
        name, _, tail = rest.partition("/resolve/")
        return self._file(found, f"{kind}/{name}", tail.partition("/")[2])

    def _api(self, found: Hub, path: str) -> None:
        repo, _, action = path, "", ""
        for word in ("/revision/", "/tree/"):
            if word in path:
                repo, action, revision = path.partition(word)
                break
        else:
            revision = "main"
        if repo not in found.repos:
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        commit = found.commit(repo)
        if revision not in ("main", commit):
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        folder = found.repos[repo]
        listed = [(str(p.relative_to(folder)), p.stat().st_size) for p in files(folder)]
        if action == "/tree/":
            body: object = [
                {"type": "file", "path": n, "size": size, "oid": "0" * 40} for n, size in listed
            ]
        else:
            siblings = [{"rfilename": n, "size": size} for n, size in listed]
            name = repo.partition("/")[2]
            body = {"id": name, "sha": commit, "siblings": siblings, "private": False}
        return self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _file(self, found: Hub, repo: str, name: str) -> None:
        if found.token and self.headers.get("Authorization") != f"Bearer {found.token}":
            return self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        if repo not in found.repos:
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        path = found.repos[repo] / name
        if not path.is_file():
            return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        content = path.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
            "X-Repo-Commit": found.commit(repo),
        }
        return self._send(200, content, headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
