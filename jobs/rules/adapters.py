"""`inference.adapters`: KAITO's AdapterSpec.validateCreateorUpdate, which it calls on update only.

Here it holds on create too, and names must also make valid containers and volumes. A strength is
taken on both runtimes (KAITO refuses it on vLLM: there it cannot be composed).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from jobs.context import Context
from jobs.marks import LIVE, TOGETHER
from jobs.names import LONGEST_LABEL, label_problem, subdomain_problem
from jobs.rules.data import ONE_SOURCE, image_problems
from jobs.rules.general import runtime
from jobs.rules.volume import volume_problems
from jobs.workspace import Adapter, AdapterSource, Workspace
from presets.problem import Problem, shown

MAX_ADAPTERS = 10
TOO_MANY = f"Number of Adapters exceeds the maximum limit, maximum of {MAX_ADAPTERS} allowed"
NAME_MISSING = "Name of Adapter field must be specified"
NO_SOURCE = "Either Image or Volume must be specified for adapter source"
ONE_PLACE = "an adapter comes from one place: image, volumeSource or workspace"
NO_URLS = "URLs are not supported as adapter source"
# What KAITO makes of a name: container puller-NAME, volume adapter-volume-NAME.
_CONTAINER, _VOLUME = "puller-", "adapter-volume-"


def adapters_problems(workspace: Workspace, context: Context) -> Iterator[Problem]:
    """The rules of all adapters, each and together."""
    adapters = workspace.inference.adapters if workspace.inference else ()
    path = "inference.adapters"
    yield from _together_problems(workspace, adapters)
    yield from _live_problems(workspace)
    if len(adapters) > MAX_ADAPTERS:
        yield Problem(path, TOO_MANY, f"there are {len(adapters)}; remove some", "generic")
    names = Counter(a.source.name for a in adapters if a.source and a.source.name)
    for name, count in names.items():
        if count > 1:
            what = f"Duplicate adapter source name found: {name[:80]}"
            yield Problem(path, what, "give each adapter its own name", "generic")
    for number, adapter in enumerate(adapters):
        yield from _adapter_problems(adapter, f"{path}[{number}]", context)


def _together_problems(workspace: Workspace, adapters: tuple[Adapter, ...]) -> Iterator[Problem]:
    """All adapters as one: its name is one more that clients choose by."""
    name = workspace.annotations.get(TOGETHER)
    if name is None:
        return
    taken = [a.source.name for a in adapters if a.source]
    why = label_problem(name)
    if why is None and name in taken:
        why = "is the name of one of the adapters"
    if why is not None:
        do = f"it is {shown(name)}; write for example all-adapters"
        yield Problem(f"metadata.annotations.{TOGETHER}", why, do)


def _live_problems(workspace: Workspace) -> Iterator[Problem]:
    """transformers' server has one model, which is made when it starts."""
    value, path = workspace.annotations.get(LIVE), f"metadata.annotations.{LIVE}"
    if value not in (None, "true", "false"):
        yield Problem(path, f'{shown(value)} must be "true" or "false"', "")
    elif value == "true" and runtime(workspace) == "transformers":
        do = "remove this annotation, or kaito.sh/runtime"
        yield Problem(path, "only vLLM can change its adapters while it runs", do)


def _adapter_problems(adapter: Adapter, path: str, context: Context) -> Iterator[Problem]:
    source = adapter.source
    if source is None:
        do = "say where the adapter is: name, and image or volumeSource"
        yield Problem(f"{path}.source", "is missing", do, "missing")
    else:
        yield from _place_problems(source, f"{path}.source", context)
        yield from _name_problems(source, f"{path}.source")
    yield from _strength_problems(adapter, path)


def _place_problems(source: AdapterSource, path: str, context: Context) -> Iterator[Problem]:
    if source.urls:
        yield Problem(f"{path}.urls", NO_URLS, "write image or volumeSource", "generic")
    elif source.image is None and source.volume is None and source.workspace is None:
        yield Problem(path, NO_SOURCE, "write image, volumeSource or workspace", "generic")
    if source.workspace is not None:
        yield from _workspace_problems(source, path)
    if source.image is not None and source.volume is not None:
        yield Problem(path, ONE_SOURCE, "keep one of volumeSource and image", "generic")
    if source.volume is not None:
        yield from volume_problems(source.volume, f"{path}.volumeSource", "read", context)
    yield from image_problems(source.image, f"{path}.image", "input")


def _workspace_problems(source: AdapterSource, path: str) -> Iterator[Problem]:
    if source.image is not None or source.volume is not None:
        yield Problem(path, ONE_PLACE, "keep one of them", "generic")
    written = source.workspace or ""
    *namespace, name = written.split("/")
    if len(namespace) > 1 or any(label_problem(part) for part in (*namespace, name)):
        what = f"{shown(written)} names no Workspace"
        yield Problem(f"{path}.workspace", what, "write NAME or NAMESPACE/NAME")


def _name_problems(source: AdapterSource, path: str) -> Iterator[Problem]:
    name = source.name
    if name is None:
        yield Problem(path, NAME_MISSING, f"write it at {path}.name", "missing sentence")
        return
    why = subdomain_problem(name) or label_problem(name) or _too_long(source, name)
    if why is not None:
        yield Problem(f"{path}.name", why, f"it is {shown(name)}; write for example my-adapter")


def _too_long(source: AdapterSource, name: str) -> str | None:
    limit = LONGEST_LABEL - len(_VOLUME if source.volume is not None else _CONTAINER)
    return f"must be no more than {limit} bytes" if len(name) > limit else None


def _strength_problems(adapter: Adapter, path: str) -> Iterator[Problem]:
    if adapter.strength is None:
        return
    name = adapter.source.name if adapter.source and adapter.source.name else ""
    do = 'write a number from 0 to 1 in quotes, for example "0.5"'
    try:
        strength = float(adapter.strength)
    except ValueError:
        what = f"Invalid strength value for Adapter '{name[:80]}': {shown(adapter.strength)}"
        yield Problem(f"{path}.strength", f"{what} is not a number", do, "generic")
        return
    if not 0 <= strength <= 1:  # NaN too
        what = f"Strength value for Adapter '{name[:80]}' must be between 0 and 1"
        yield Problem(f"{path}.strength", what, do, "generic")
