"""Where the data comes from → files on disk, each with its digest.

Second step of `prepare`. URLs are downloaded, folders and files are taken as they are, a data set
of a hub is brought at one commit, an image is unpacked by whoever knows registries. Files come in
an order that does not depend on the machine: it decides the order of rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from presets.problem import printable, shown
from tuning import urls
from tuning.config import DatasetSection
from tuning.dataset import formats
from tuning.dataset.fetch import Fetched, Progress, fetch
from tuning.dataset.hops import Guard
from tuning.dataset.hub_data import download
from tuning.dataset.notes import file_sha256
from tuning.failure import Failure, Kind
from tuning.images.oci import CONFIG_FILE, SMALL_FILES, WEIGHTS_FILE
from tuning.run import DataSource

PullImage = Callable[[str, Path], None]
"""Puts an image's files into a folder: (reference, folder)."""


def gather(
    source: DataSource,
    dataset: DatasetSection,
    data_dir: Path,
    progress: Progress | None = None,
    *,
    pull_image: PullImage,
    token: str | bool = False,
    guard: Guard | None = None,
) -> tuple[Fetched, ...]:
    """Every data file of the source, in a fixed order; at least one.

    `token` is for a Hugging Face data set. Raises Failure: BAD_CONFIG (nothing there, a link that
    leads out of the folder, a wrong name), NO_ACCESS, UNAVAILABLE.
    """
    if source.kind == "urls":
        return _from_urls(source, dataset, data_dir, progress, guard)
    if source.kind == "path" or source.path is not None:
        return _from_folder(Path(source.path or ""), dataset)
    if source.kind == "dataset":
        name = source.dataset or ""
        return download(name, dataset, data_dir, token=token, progress=progress)
    unpacked = data_dir / "image"
    unpacked.mkdir(parents=True, exist_ok=True)
    pull_image(source.image or "", unpacked)
    inner = unpacked / "data"
    return _from_folder(inner if inner.is_dir() else unpacked, dataset)


def data_files(folder: Path, dataset: DatasetSection) -> list[Path]:
    """The data files under a folder, sorted by their relative path.

    Hidden files are passed over, as is what has another suffix, and the files of an adapter: one
    volume may be input and output. Raises Failure (BAD_CONFIG) for links that leave the folder,
    linked folders and what is no plain file: none is left out quietly.
    """
    start = _start(folder, dataset.dataset_path)
    if start.is_file():
        _require_inside(start, folder)
        return [start]
    found = [path for path in _walk(start) if _is_data(path, dataset.dataset_extension)]
    for path in found:
        _require_inside(path, folder)
    if not found:
        known = " ".join(formats.SUFFIXES)
        raise _wrong(f"there is no data file in {start}; data files end in one of {known}")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def chosen_path(wanted: str) -> tuple[str, ...]:
    """Parts of DatasetConfig.dataset_path below the data's own folder.

    KAITO joins the path under /mnt and mounts the data at /mnt/data: those names stand for the
    folder itself. Raises Failure (BAD_CONFIG) when it leads out of it.
    """
    parts = [part for part in wanted.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in wanted:
        raise _wrong(f"DatasetConfig.dataset_path {shown(wanted)} leads out of the data's folder")
    if wanted.startswith("/") and parts[:1] == ["mnt"]:
        parts = parts[1:]
    return tuple(parts[1:] if parts[:1] == ["data"] else parts)


def _from_urls(
    source: DataSource,
    dataset: DatasetSection,
    data_dir: Path,
    progress: Progress | None,
    guard: Guard | None,
) -> tuple[Fetched, ...]:
    found: list[Fetched] = []
    for url, name in zip(source.urls, _names(source.urls), strict=True):
        if not _worth_fetching(name, source.urls, dataset):
            continue
        rules = guard or Guard(source.allow_hosts)
        found.append(fetch(url, data_dir / name, progress=progress, guard=rules))
    if not found:
        what = "none of the URLs is a data file"
        if dataset.dataset_path:
            what += f" named as DatasetConfig.dataset_path {shown(dataset.dataset_path)} says"
        raise _wrong(f"{what}; give the link of a {' or '.join(formats.SUFFIXES)} file")
    return tuple(found)


def _names(links: Sequence[str]) -> Iterator[str]:
    """File names in the order of the links; the same name twice gets a number in front."""
    used: set[str] = set()
    for number, url in enumerate(links):
        name = urls.basename(url)
        name = f"{number}-{name}" if name in used else name
        used.add(name)
        yield name


def _worth_fetching(name: str, links: Sequence[str], dataset: DatasetSection) -> bool:
    """A README beside the data is not data; a link without suffix is judged by what comes."""
    if dataset.dataset_path and (parts := chosen_path(dataset.dataset_path)):
        return name == parts[-1]
    return len(links) == 1 or not name.lower().endswith((".md", ".txt", ".html"))


def _from_folder(place: Path, dataset: DatasetSection) -> tuple[Fetched, ...]:
    if not place.exists():
        raise _wrong(f"the data folder {place} does not exist; check the path or the volume")
    try:
        files = [place] if place.is_file() else data_files(place, dataset)
        return tuple(_as_it_is(path, place) for path in files)
    except OSError as error:
        what = f"{error.filename or place} cannot be read ({error.strerror})"
        raise Failure(Kind.NO_ACCESS, f"{what}; let the tuning pod's user read it") from error


def _as_it_is(path: Path, place: Path) -> Fetched:
    name = path.name if path == place else path.relative_to(place).as_posix()
    return Fetched(path, file_sha256(path), path.stat().st_size, printable(name))


def _start(folder: Path, wanted: str | None) -> Path:
    start = folder.joinpath(*chosen_path(wanted or ""))
    literal = folder.joinpath(*(p for p in (wanted or "").split("/") if p))
    if not start.exists() and literal.exists():
        start = literal
    if not start.exists():
        here = ", ".join(shown(p.name) for p in sorted(folder.iterdir())[:8])
        what = f"DatasetConfig.dataset_path {shown(wanted or '')} is not in {folder}"
        raise _wrong(f"{what}; there are {here or 'no files'}")
    return start


def _walk(start: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(start, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (Path(place) / name).is_symlink():
                raise _wrong(f"{Path(place) / name} is a link to a folder; copy the folder there")
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(place) / name


def _of_adapter(path: Path) -> bool:
    beside = (path.with_name(name) for name in (CONFIG_FILE, WEIGHTS_FILE))
    return path.name in SMALL_FILES and any(file.is_file() for file in beside)


def _is_data(path: Path, extension: str | None) -> bool:
    if _of_adapter(path):
        return False
    if formats.by_name(path.name) is None:
        return bool(extension) and path.suffix == ""
    if not path.is_file():
        raise _wrong(f"{path} is no plain file, or a link to nothing; remove it or put data there")
    return True


def _require_inside(path: Path, folder: Path) -> None:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _wrong(f"{path} is a link that leads out of {folder}; copy the file there instead")


def _raise(error: OSError) -> None:
    raise error


def _wrong(sentence: str) -> Failure:
    return Failure(Kind.BAD_CONFIG, printable(sentence))
