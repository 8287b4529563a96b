"""A real registry (Debian's docker-registry) on the loopback, for any test that pushes or pulls.

    from rig.registry import running_registry

    with running_registry("htpasswd") as registry:
        push(f"{registry.host}/team/adapter:v1", registry.credentials)

Modes: `plain` (http, open), `htpasswd` (http, Basic), `token` (http, Bearer with a small issuer),
`tls` (https with its own CA: `registry.ca`). Each starts in well under a second, on a free port,
with storage in a folder that goes away; `stop()` and `start()` restart it on the same port.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from rig import certs
from rig.token_issuer import ISSUER, SERVICE, TokenIssuer, running_issuer

Mode = Literal["plain", "htpasswd", "token", "tls"]

USER = "pusher"
READER = "reader"
PASSWORD = "sesame-push"
# bcrypt of PASSWORD at cost 4, written down so that no test needs a bcrypt package.
_BCRYPT = "$2b$04$l3P87WtwR305aCzgTk8AuODO8s7yCHXkiqqemRUDgMTGdrq/s6F0W"
_START_LIMIT_S = 30


@dataclass
class RunningRegistry:
    """One registry process and what a client needs to know of it."""

    mode: Mode
    host: str
    """`127.0.0.1:PORT`: the registry part of a reference."""
    ca: Path | None
    """The CA file to trust (tls)."""
    credentials: Path | None
    """A docker config.json that may push (htpasswd, token)."""
    storage: Path
    issuer: TokenIssuer | None
    folder: Path
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start again after `stop()`, on the same port and with the same storage."""
        self._process, _ = _launch(self.folder, self.host)

    def stop(self) -> None:
        """SIGKILL: storage stays as it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def login(self, user: str, password: str, host: str | None = None) -> Path:
        """Write a docker config.json for `host` (default: this one); its path."""
        file = Path(tempfile.mkdtemp(dir=self.folder)) / "config.json"
        return write_docker_config(file, {host or self.host: (user, password)})


@contextmanager
def running_registry(mode: Mode = "plain", *, deletes: bool = False) -> Iterator[RunningRegistry]:
    """A registry in `mode`, stopped at the end. Fails with the package's name if not installed.

    `deletes`: it lets images be removed, which it does not by itself.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="registry-")))
        issuer = None
        if mode == "token":
            passwords = {USER: PASSWORD, READER: PASSWORD}
            actions = {USER: ("pull", "push"), READER: ("pull",)}
            issuer = stack.enter_context(running_issuer(folder, passwords, actions))
        ca = _write_config(folder, mode, issuer, deletes)
        process, host = _launch(folder, "127.0.0.1:0")
        registry = RunningRegistry(
            mode, host, ca, None, folder / "storage", issuer, folder, process
        )
        stack.callback(registry.stop)
        if mode in ("htpasswd", "token"):
            registry.credentials = registry.login(USER, PASSWORD)
        yield registry


def write_docker_config(file: Path, logins: Mapping[str, tuple[str, str]]) -> Path:
    """A docker config.json at `file` with `logins` (host → user, password)."""
    auths = {
        host: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        for host, (user, password) in logins.items()
    }
    file.write_text(json.dumps({"auths": auths}))
    return file


def _write_config(
    folder: Path, mode: Mode, issuer: TokenIssuer | None, deletes: bool
) -> Path | None:
    """What stays the same over restarts; the port is added by `_launch`. Returns the CA."""
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": deletes},
        },
        # Upload sessions carry a signature; without a fixed secret none survives a restart.
        "http": {"secret": "fixed"},
    }
    ca = None
    if mode == "htpasswd":
        (folder / "htpasswd").write_text(f"{USER}:{_BCRYPT}\n{READER}:{_BCRYPT}\n")
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    if issuer is not None:
        config["auth"] = {
            "token": {
                "realm": issuer.realm,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(issuer.bundle),
            }
        }
    if mode == "tls":
        authority = certs.authority(folder / "ca")
        files = certs.server(authority, folder)
        config["http"]["tls"] = {"certificate": str(files.certificate), "key": str(files.key)}
        ca = authority.file
    (folder / "config.json").write_text(json.dumps(config))
    return ca


def _launch(folder: Path, address: str) -> tuple[subprocess.Popen[str], str]:
    """Start the server; returns once it listens, with the address it listens on."""
    binary = shutil.which("docker-registry")
    if binary is None:
        raise RuntimeError(
            "docker-registry is not installed; apt-get install docker-registry (Debian package)"
        )
    config = json.loads((folder / "config.json").read_text())
    config["http"]["addr"] = address
    file = folder / "config.yml"
    file.write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [binary, "serve", str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "", "OTEL_TRACES_EXPORTER": "none"},
    )
    reader = _LogReader(process)
    reader.start()
    if not reader.listening.wait(_START_LIMIT_S) or reader.address is None:
        process.kill()
        process.wait()
        raise RuntimeError("docker-registry did not start:\n" + "".join(reader.lines[-20:]))
    return process, reader.address


class _LogReader(threading.Thread):
    """Reads the log to its end, so that the server never blocks, and finds the address in it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self._stderr = process.stderr
        self.lines: list[str] = []
        self.address: str | None = None
        self.listening = threading.Event()

    def run(self) -> None:
        assert self._stderr is not None
        with self._stderr:
            for line in self._stderr:
                self.lines.append(line)
                if "listening on " in line and self.address is None:
                    self.address = line.split("listening on ")[1].split('"')[0].split(",")[0]
                    self.listening.set()
        self.listening.set()
