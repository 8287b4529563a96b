"""What a machine must have, looked at before anything is built or started: every cause at once."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.commands import run
from cluster.layout import Layout
from cluster.parts import PARTS
from cluster.trouble import Trouble

# Program or file → Debian package that brings it.
TO_BUILD: Mapping[str, str] = {
    "gcc": "gcc",
    "pkg-config": "pkg-config",
    "/usr/include/seccomp.h": "libseccomp-dev",
    "/usr/include/stdlib.h": "libc6-dev",
}
TO_RUN: Mapping[str, str] = {
    "buildah": "buildah",
    "busybox": "busybox-static",
    "docker-registry": "docker-registry",
    "ip": "iproute2",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "nginx": "nginx-light",
    "nsenter": "util-linux",
    "skopeo": "skopeo",
    "unshare": "util-linux",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
BUILD_BYTES = 8 * 2**30
RUN_BYTES = 4 * 2**30
MEMORY_BYTES = 3 * 2**30


@dataclass(frozen=True)
class Facts:
    """What was found of this machine."""

    root: bool
    go: tuple[int, int] | None
    free_bytes: int
    memory_bytes: int
    cgroups: bool
    absent: frozenset[str]
    """Programs and files of TO_BUILD and TO_RUN that are not there."""


def check(layout: Layout, *, building: bool) -> None:
    """Refuse a machine that cannot build or run the cluster.

    Raises:
        Trouble: with all causes.
    """
    causes = problems(look(layout), layout, building=building)
    if causes:
        raise Trouble(*causes)


def problems(facts: Facts, layout: Layout, *, building: bool) -> list[str]:
    """Every reason why this machine will not do, each with what to do."""
    found = []
    if not facts.root:
        found.append("not root: namespaces, mounts and cgroups need it; run as root or with sudo")
    if building and (facts.go is None or facts.go < go_wanted()):
        has = "not installed" if facts.go is None else "too old ({}.{})".format(*facts.go)
        found.append(f"Go is {has}; install Go {'.'.join(map(str, go_wanted()))} or newer")
    wanted = {**TO_RUN, **(TO_BUILD if building else {})}
    packages = sorted({wanted[name] for name in facts.absent if name in wanted})
    if packages:
        found.append(f"missing Debian packages: apt-get install {' '.join(packages)}")
    needed = BUILD_BYTES if building else RUN_BYTES
    if facts.free_bytes < needed:
        free, place = _gib(facts.free_bytes), layout.cache
        found.append(f"{free} GiB free below {place}; {_gib(needed)} needed")
    if facts.memory_bytes < MEMORY_BYTES:
        found.append(f"{_gib(facts.memory_bytes)} GiB of memory; {_gib(MEMORY_BYTES)} needed")
    if not facts.cgroups:
        found.append("no cgroups at /sys/fs/cgroup; the kubelet cannot run here")
    return found + _hidden(layout)


def look(layout: Layout) -> Facts:
    """Look at this machine."""
    existing = next(p for p in (layout.cache, *layout.cache.parents) if p.exists())
    return Facts(
        root=os.geteuid() == 0,
        go=_go_version(),
        free_bytes=shutil.disk_usage(existing).free,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        cgroups=any(Path("/sys/fs/cgroup", n).exists() for n in ("memory", "cgroup.controllers")),
        absent=frozenset(_absent([*TO_BUILD, *TO_RUN], shutil.which)),
    )


def go_wanted() -> tuple[int, int]:
    """The newest Go language version that a go.mod asks for."""
    texts = ((part.folder / "go.mod").read_text() for part in PARTS.values())
    lines = (re.search(r"^go (\d+)\.(\d+)", text, re.MULTILINE) for text in texts)
    return max((int(line[1]), int(line[2])) for line in lines if line)


def _absent(names: Iterable[str], which: Callable[[str], str | None]) -> list[str]:
    return [n for n in names if not (Path(n).exists() if n.startswith("/") else which(n))]


def _go_version() -> tuple[int, int] | None:
    if shutil.which("go") is None:
        return None
    found = re.search(r"go(\d+)\.(\d+)", run(["go", "env", "GOVERSION"]))
    return (int(found[1]), int(found[2])) if found else None


def _hidden(layout: Layout) -> list[str]:
    """Inside the cluster's machine /var and /run are others, so nothing it needs may lie there."""
    return [
        f"{path} lies under /{path.parts[1]}, which the cluster's own processes see otherwise; "
        "move it, or set XDG_CACHE_HOME and XDG_STATE_HOME"
        for path in (layout.cache, layout.state)
        if path.parts[1] in ("var", "run")
    ]


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f}"
