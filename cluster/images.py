"""Images: built with buildah in a sandbox of its own, saved as archives, pushed to the registry."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from cluster.commands import run
from cluster.config import PAUSE_IMAGE
from cluster.layout import Layout
from cluster.machine import inside
from cluster.trouble import CommandFailed, Trouble

FOLDER = Path(__file__).parent / "images"


def buildah(layout: Layout, *argv: str) -> list[str]:
    """A buildah command with storage in the cache. Its mounts and processes end with it, and it
    ends with us: also after SIGKILL nothing stays behind."""
    root, scratch = _storage(layout)
    return sandboxed(["buildah", "--root", str(root), "--runroot", str(scratch), *argv])


def copied(layout: Layout, name: str, folder: Path) -> list[str]:
    """A command that writes an image into an OCI layout, but for blobs that lie there."""
    root, scratch = _storage(layout)
    source = f"containers-storage:[overlay@{root}+{scratch}]{name}"
    argv = ["copy", "--quiet", "--dest-oci-accept-uncompressed-layers", source]
    return sandboxed(["skopeo", *argv, f"oci:{folder}:image"])


def _storage(layout: Layout) -> tuple[Path, Path]:
    return layout.cache / "buildah" / "root", layout.cache / "buildah" / "run"


def sandboxed(argv: Sequence[str]) -> list[str]:
    """A command in namespaces of its own for mounts and processes, killed when we die."""
    return [
        *("setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid", "--fork"),
        *("--kill-child", "--mount-proc", "--propagation", "private", *argv),
    ]


def exists(layout: Layout, name: str) -> bool:
    """Whether buildah has an image of this name."""
    try:
        run(buildah(layout, "inspect", "--type", "image", "--format", "{{.FromImageID}}", name))
    except CommandFailed:
        return False
    return True


def busybox(layout: Layout) -> Path:
    """The archive of the pause image, built when its recipe or the program has changed."""
    binary = shutil.which("busybox")
    if binary is None:
        raise Trouble("missing Debian package: busybox-static")
    recipe = FOLDER / "busybox" / "Containerfile"
    archive = layout.images / f"busybox-{_digest(recipe, Path(binary))}.tar"
    if not archive.exists():
        context = layout.images / "busybox.context"
        context.mkdir(parents=True, exist_ok=True)
        shutil.copy(binary, context / "busybox")
        build(layout, recipe, context, PAUSE_IMAGE)
        save(layout, PAUSE_IMAGE, archive)
    return archive


def build(
    layout: Layout, recipe: Path, context: Path, name: str, options: Sequence[str] = ()
) -> None:
    """`buildah bud` in chroot isolation: no container engine needed. Its caches of packages stay
    below the layout's cache."""
    argv = [
        "bud",
        "--isolation",
        "chroot",
        "--timestamp",
        "0",
        *options,
        "-f",
        str(recipe),
        "-t",
        name,
        str(context),
    ]
    scratch = layout.cache / "buildah" / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    run(buildah(layout, *argv), env={"TMPDIR": str(scratch)}, timeout_s=1800)


def run_in(layout: Layout, name: str, argv: Sequence[str], script: Path, stdin: str) -> str:
    """Run a command in a throw-away container of an image, with `script` as /script; its output."""
    container = run(buildah(layout, "from", name)).strip()
    options = ("--isolation", "chroot", "--volume", f"{script}:/script:ro")
    try:
        return run(buildah(layout, "run", *options, container, "--", *argv), stdin=stdin)
    finally:
        run(buildah(layout, "rm", container))


def remove(layout: Layout, *names: str) -> None:
    """Remove images by name, and layers that only they used."""
    if names:
        run(buildah(layout, "rmi", "--force", *names))


def tags(layout: Layout, repository: str) -> list[str]:
    """Names of the images that buildah has of a repository."""
    form = ("--format", "{{.Name}}:{{.Tag}}", "--filter", f"reference={repository}:*")
    try:
        return run(buildah(layout, "images", *form)).split()
    except CommandFailed:  # it has none
        return []


def save(layout: Layout, name: str, archive: Path) -> None:
    """Write an image to an uncompressed archive: dearer in bytes, cheaper in seconds."""
    unfinished = archive.with_name(archive.name + ".part")
    unfinished.unlink(missing_ok=True)
    run(buildah(layout, "push", name, f"docker-archive:{unfinished}:{name}"), timeout_s=1800)
    unfinished.rename(archive)


def push(layout: Layout, machine: int, name: str, reference: str, user: str = "pusher") -> None:
    """Push an image that buildah has built into the registry beside the cluster."""
    certificates = layout.etc / "certs"
    argv = buildah(
        layout,
        "push",
        "--cert-dir",
        str(certificates),
        "--authfile",
        str(layout.docker_config(user)),
        name,
        f"docker://{reference}",
    )
    run(inside(machine, argv), timeout_s=1800)


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]
