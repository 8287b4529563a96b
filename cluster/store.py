"""The node's images: containerd's store lies in the cache and outlives clusters, so after a code
change only a thin layer is written.

One machine at a time has the kept store: its process 1 holds the lock, so the kernel lets go of it
with the machine, however that ends. A machine beside it has a store of its own, gone with it.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import images
from cluster.build import program
from cluster.commands import run
from cluster.layout import Layout
from cluster.machine import inside

ROOT = Path("/var/lib/containerd")
_BLOBS = Path("io.containerd.content.v1.content/blobs/sha256")
_OURS = "localhost/"
_LAYOUT = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()


@contextmanager
def claimed(layout: Layout) -> Iterator[int | None]:
    """A descriptor that holds the kept store for whoever inherits it; None when another has it."""
    layout.store.mkdir(parents=True, exist_ok=True)
    folder = os.open(layout.store, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield folder
    finally:
        os.close(folder)


def ctr(layout: Layout, machine: int, *argv: str) -> list[str]:
    """A ctr command on the images and containers that the kubelet sees."""
    return inside(machine, [program(layout, "ctr"), "--namespace", "k8s.io", *argv])


def load(layout: Layout, machine: int, image: str) -> None:
    """Bring an image to the node: an archive's path, or the name of one that buildah built here."""
    if Path(image).is_file():
        archive = str(Path(image).resolve())
        run(ctr(layout, machine, "images", "import", archive), timeout_s=1800)
    else:
        _load_built(layout, machine, image)


def forget_images(layout: Layout, machine: int) -> None:
    """Drop all that were not built here: a tag of the registry beside the cluster would be found
    with the contents of another day."""
    rows = [row.split() for row in run(ctr(layout, machine, "images", "ls")).splitlines()[1:]]
    kept = {digest for name, _, digest, *_ in rows if name.startswith(_OURS)}
    others = [
        name
        for name, _, digest, *_ in rows
        # containerd names each image by its digest, too.
        if not name.startswith(_OURS) and not (name.startswith("sha256:") and digest in kept)
    ]
    if others:
        run(ctr(layout, machine, "images", "rm", *others))


def forget_containers(layout: Layout, machine: int) -> bool:
    """Drop those of a machine that is gone; whether there were any. containerd has read of them by
    now, and must start again."""
    containers = run(ctr(layout, machine, "containers", "ls", "--quiet")).split()
    if containers:
        run(ctr(layout, machine, "containers", "rm", *containers))
    sandboxes = run(ctr(layout, machine, "sandboxes", "ls")).splitlines()[1:]
    for line in sandboxes:
        run(ctr(layout, machine, "sandboxes", "rm", "--force", line.split()[0]))
    return bool(containers or sandboxes)


def _load_built(layout: Layout, machine: int, name: str) -> None:
    """As an OCI layout that holds links for what the node has: skopeo writes only the rest of the
    layers, and containerd, which knows layers by digest, gets only those. Uncompressed, as buildah
    keeps them: dearer in bytes, cheaper in seconds."""
    folder = layout.state / f"load-{os.getpid()}"
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    try:
        for blob in (_folder(layout, machine) / _BLOBS).iterdir():
            (blobs / blob.name).symlink_to(blob)
        run(images.copied(layout, name, folder), timeout_s=1800)
        _import(layout, machine, folder, name)
    finally:
        shutil.rmtree(folder)


def _import(layout: Layout, machine: int, folder: Path, name: str) -> None:
    index = json.loads((folder / "index.json").read_text())
    index["manifests"][0]["annotations"] = {"io.containerd.image.name": name}
    thin = folder / "thin.tar"
    with tarfile.open(thin, "w") as archive:
        _add(archive, "oci-layout", _LAYOUT)
        _add(archive, "index.json", json.dumps(index).encode())
        for blob in (folder / "blobs" / "sha256").iterdir():
            if not blob.is_symlink():
                archive.add(blob, f"blobs/sha256/{blob.name}")
    run(ctr(layout, machine, "images", "import", str(thin)), timeout_s=1800)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size = len(content)
    archive.addfile(about, io.BytesIO(content))


def _folder(layout: Layout, machine: int) -> Path:
    """The store of this machine, as seen from outside."""
    inner = Path(f"/proc/{machine}/root{ROOT}")
    if layout.store.exists() and inner.samefile(layout.store):
        return layout.store
    return layout.var / ROOT.relative_to("/var")
