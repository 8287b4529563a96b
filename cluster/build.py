"""Source to binaries: `go build` per part into the cache, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from cluster.commands import run
from cluster.layout import Layout
from cluster.lock import locked
from cluster.parts import PARTS, Part
from cluster.progress import step


def folder_of(layout: Layout, name: str) -> Path:
    """Where the binaries of this part lie once built."""
    return layout.binaries / PARTS[name].key


def program(layout: Layout, name: str) -> str:
    """The path of a binary, such as `kubectl`."""
    for part in PARTS.values():
        if name in part.programs:
            return str(folder_of(layout, part.name) / name)
    raise KeyError(name)


def missing(layout: Layout, names: Iterable[str]) -> list[str]:
    """Those of these parts that are not in the cache."""
    return [name for name in names if not folder_of(layout, name).is_dir()]


def build(layout: Layout, names: Iterable[str]) -> None:
    """Build what is missing. Downloads go through the Go client's own settings.

    Raises:
        CommandFailed: the Go compiler refused.
    """
    for name in names:
        if missing(layout, [name]):
            with locked(layout, "build"):
                _build_if_missing(layout, name)


def _build_if_missing(layout: Layout, name: str) -> None:
    if missing(layout, [name]):
        part = PARTS[name]
        with step(f"build {part.name} {part.version}"):
            _build(part, folder_of(layout, name))


def _build(part: Part, target: Path) -> None:
    unfinished = target.with_name(target.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    env = {"CGO_ENABLED": "1" if part.cgo else "0", "GOWORK": "off"}
    run(go_build(part, unfinished), cwd=part.folder, timeout_s=3600, env=env)
    _keep_files(part, unfinished)
    unfinished.rename(target)
    for old in target.parent.glob(f"{part.name}-v*"):
        if old != target:
            shutil.rmtree(old)


def go_build(part: Part, folder: Path) -> list[str]:
    """The command that builds all programs of a part into a folder: several at once, so that one is
    linked while others compile. Without debug data a sixth of the compiler's work is saved."""
    flags = ["-trimpath", "-buildvcs=false", "-mod=readonly", "-gcflags=all=-dwarf=false"]
    flags += ["-ldflags", part.linker_flags]
    if part.tags:
        flags += ["-tags", part.tags]
    packages = list(part.programs.values())
    # Of several the last word of the package is the name; one alone may be called otherwise.
    output = folder if len(packages) > 1 else folder / next(iter(part.programs))
    return ["go", "build", *flags, "-o", str(output), *packages]


def _keep_files(part: Part, folder: Path) -> None:
    """Copy what else is needed of the module, so that starting needs no module cache."""
    if not part.files:
        return
    module = Path(run(["go", "list", "-m", "-f", "{{.Dir}}", part.module], cwd=part.folder).strip())
    share = folder / "share"
    share.mkdir()
    for path in (path for pattern in part.files for path in module.glob(pattern)):
        shutil.copyfile(path, share / path.name)
