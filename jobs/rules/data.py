"""Where data comes from and where the adapter goes: DataSource and DataDestination.

KAITO's DataSource.validateCreate and DataDestination.validateCreate, and what KAITO accepts and
then loses: files of one name, an output that replaces its input, a digest as a push target.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.context import Context
from jobs.rules.volume import volume_problems
from jobs.workspace import Destination, Source
from presets.problem import Problem, shown
from tuning.reference import Reference
from tuning.reference import parse as parse_reference
from tuning.urls import HUB_SCHEME, basename, hub_dataset, static_problem

ONE_SOURCE = "Exactly one of URLs, Volume, or Image must be specified"
ONE_DESTINATION = "Exactly one of Volume or Image must be specified"
PUSH_SECRET = "Must specify imagePushSecret with destination image"  # noqa: S105 KAITO's sentence

_LONGEST_REFERENCE = 512  # a name of 255, a tag of 128, a digest of 71 characters


def source_problems(source: Source, path: str, context: Context) -> Iterator[Problem]:
    """The rules of tuning.input."""
    given = [bool(source.urls), source.volume is not None, source.image is not None]
    if sum(given) != 1:
        do = "keep one of urls, volumeSource and image" if any(given) else _SAY_WHERE
        yield Problem(path, ONE_SOURCE, do, "generic")
    yield from _url_problems(source.urls, f"{path}.urls", context)
    if source.volume is not None:
        yield from volume_problems(source.volume, f"{path}.volumeSource", "read", context)
    yield from image_problems(source.image, f"{path}.image", "input")


_SAY_WHERE = "write urls, volumeSource or image"


def destination_problems(
    destination: Destination, path: str, context: Context
) -> Iterator[Problem]:
    """The rules of tuning.output."""
    given = [destination.volume is not None, destination.image is not None]
    if sum(given) != 1:
        do = "keep one of volumeSource and image" if any(given) else "write image or volumeSource"
        yield Problem(path, ONE_DESTINATION, do, "missing sentence")
    if destination.volume is not None:
        yield from volume_problems(destination.volume, f"{path}.volumeSource", "write", context)
    if destination.image is None:
        return
    yield from image_problems(destination.image, f"{path}.image", "output")
    if destination.image_push_secret is None:
        do = f"name a registry Secret of the same namespace at {path}.imagePushSecret"
        yield Problem(path, PUSH_SECRET, do, "missing sentence")


def same_image(source: Source | None, destination: Destination | None) -> Iterator[Problem]:
    """An output image that would replace the image the data came from."""
    read = _parsed(source.image if source else None)
    written = _parsed(destination.image if destination else None)
    if read is not None and written is not None and str(read) == str(written):
        what = f"{shown(str(written))} is also the input, so the adapter would replace the data"
        yield Problem("tuning.output.image", what, "choose another tag or repository")


def image_problems(image: str | None, path: str, role: str) -> Iterator[Problem]:
    """An image reference that no registry would take."""
    if image is None:
        return
    if len(image) > _LONGEST_REFERENCE:
        what = f"Unable to parse {role} image reference: {len(image)} characters are too many"
        yield Problem(path, what, "write registry/repository:tag")
        return
    try:
        parsed = parse_reference(image)
    except ValueError as error:
        yield Problem(path, f"Unable to parse {role} image reference: {error}")
        return
    if role == "output" and parsed.digest:
        what = "an image is pushed to a tag: its digest is known only afterwards"
        yield Problem(path, what, f"write {parsed.name}:TAG")


def _parsed(image: str | None) -> Reference | None:
    try:
        return parse_reference(image) if image else None
    except ValueError:
        return None  # told by image_problems


def _url_problems(urls: tuple[str, ...], path: str, context: Context) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for number, url in enumerate(urls):
        where = f"{path}[{number}]"
        if url.startswith(HUB_SCHEME):
            yield from _hub_problems(url, where, alone=len(urls) == 1)
            continue
        problem = static_problem(url, context.allow_hosts)
        if problem:
            yield Problem(where, problem, f"it is {shown(url)}")
            continue
        name = basename(url)
        if name in first:
            what = f"ends with the file name {shown(name)}, as {first[name]} does"
            yield Problem(where, what, "rename one: the second would overwrite the first")
        first.setdefault(name, where)


def _hub_problems(url: str, where: str, *, alone: bool) -> Iterator[Problem]:
    """A Hugging Face data set by its id: additive to KAITO's rules."""
    if hub_dataset(url) is None:
        do = "write hf://datasets/org/name or hf://datasets/org/name@revision"
        yield Problem(where, f"{shown(url)} names no data set of the hub", do)
    elif not alone:
        what = f"{shown(url)} stands beside other URLs"
        yield Problem(where, what, "name one data set of the hub, or only files")
