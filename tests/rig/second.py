"""Another cluster beside the one that tests share: neither disturbs the other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import images
from cluster.build import build
from cluster.layout import Layout, default
from cluster.recipes import ROOT
from cluster.up import Options


def beside(folder: Path) -> Layout:
    """The folders of another cluster, which needs nothing built."""
    built, layout = default(), Layout(*(folder / x / "tunery" / "cluster" for x in "cs"))
    build(built, Options(gpus=1).parts)
    images.busybox(built)
    layout.cache.mkdir(parents=True)
    for part in (built.binaries, built.images):
        (layout.cache / part.name).symlink_to(part)
    return layout


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Layout]:
    """A second cluster's folders. Stopped at the end."""
    layout = beside(tmp_path)
    yield layout
    assert say(layout, "down").returncode == 0


def command(layout: Layout, *words: str) -> list[str]:
    """`python -m cluster` for that one."""
    folders = {"STATE": layout.state, "CACHE": layout.cache}
    homes = [f"XDG_{name}_HOME={path.parent.parent}" for name, path in folders.items()]
    return ["env", *homes, sys.executable, "-m", "cluster", *words]


def say(layout: Layout, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(layout, *words), cwd=ROOT, capture_output=True, text=True)


def traces(layout: Layout) -> list[str]:
    """Every process, mount, cgroup and file that belongs to this cluster."""
    state, found = str(layout.state), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and folder.name != str(os.getpid()):
            try:
                words = (folder / "cmdline").read_bytes() + (folder / "cgroup").read_bytes()
            except OSError:
                continue
            if state.encode() in words or layout.cgroup.encode() in words:
                found.append(f"process {folder.name}: {words.decode()[:200]}")
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if state in line]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{layout.cgroup}")]
    return found + ([state] if layout.state.exists() else [])
