"""Where things lie: a cache that outlives clusters, and the folder of the running one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Folders of one cluster. Every path is the same inside its namespaces and outside."""

    cache: Path
    """Binaries and images, by version; kept by `down`."""
    state: Path
    """All that one running cluster writes; gone after `down`."""

    @property
    def binaries(self) -> Path:
        return self.cache / "bin"

    @property
    def images(self) -> Path:
        return self.cache / "images"

    @property
    def store(self) -> Path:
        """containerd's images, for one machine at a time (store.py)."""
        return self.cache / "containerd"

    def lock(self, what: str) -> Path:
        """Whoever changes `what` (the cluster, images) holds this file locked."""
        return self.cache / f"{what}.lock"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def etc(self) -> Path:
        return self.state / "etc"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def pids(self) -> Path:
        return self.state / "pids"

    @property
    def var(self) -> Path:
        """What the cluster's own processes see as /var."""
        return self.state / "var"

    @property
    def cgroup(self) -> str:
        """Name of the cgroup that holds all pods; another state folder is another cluster."""
        return "tunery-" + hashlib.sha256(str(self.state).encode()).hexdigest()[:8]

    @property
    def borrowed(self) -> Path:
        """Says that whoever shares this cluster stops it at the end (session.py)."""
        return self.state / "borrowed"

    @property
    def web(self) -> Path:
        """Files served as https://data.tunery.test/NAME."""
        return self.state / "web"

    @property
    def kubeconfig(self) -> Path:
        return self.etc / "admin.kubeconfig"

    @property
    def registry_ca(self) -> Path:
        return self.pki / "registry-ca.crt"

    def docker_config(self, user: str) -> Path:
        """The docker config.json of a registry user (`pusher` or `puller`)."""
        return self.etc / "registry" / f"{user}.json"


def default(environment: Mapping[str, str] | None = None) -> Layout:
    """The layout of this user: XDG folders, so nothing lies in the source tree."""
    env = os.environ if environment is None else environment
    home = Path(env.get("HOME", "/root"))
    cache = Path(env.get("XDG_CACHE_HOME") or home / ".cache") / "tunery" / "cluster"
    state = Path(env.get("XDG_STATE_HOME") or home / ".local" / "state") / "tunery" / "cluster"
    return Layout(cache, state)
