"""Where each adapter of a Workspace comes from: an image, a volume, or a tuning Workspace.

First step of serving. A tuning Workspace is waited for, and what it has made is then pinned by
digest: a later run of it changes nothing here unless tunery.sh/follow asks for that. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs import marks
from jobs.seen import Tuned
from jobs.slim import place
from jobs.volumes import Mount
from jobs.workspace import Adapter, AdapterSource, Workspace
from presets import Preset
from presets.problem import Problem
from serving.plan import AdapterPlan
from tuning.reference import parse

SOURCES = "/sources"

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pin:
    """What an adapter of a tuning Workspace was when it was first served; kept in the status."""

    name: str
    workspace: str
    """As the user wrote it: another one is another adapter."""
    image: str
    """repository@digest."""
    revision: str = ""
    """Commit of the base that it was trained on."""
    secret: str = ""
    """Registry Secret that pulls it, where the user names none."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the answer depends on besides the Workspace."""

    tuned: Mapping[tuple[str, str], Tuned]
    pins: tuple[Pin, ...] = ()
    image_volumes: bool = False
    """Whether the kubelet mounts images; else `prepare` pulls them."""
    unmountable: frozenset[str] = frozenset()
    """Images that a kubelet could not mount: pulled by `prepare`, which says why and goes on."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Every adapter that can be served, and what is wrong with the others."""

    plans: tuple[AdapterPlan, ...] = ()
    origins: tuple[str, ...] = ()
    """Of each plan: image or folder. How the kubelet or `prepare` brings it is no difference."""
    mounts: tuple[Mount, ...] = ()
    mounted_images: tuple[str, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    """Of all images, in the user's order."""
    pins: tuple[Pin, ...] = ()
    waiting: tuple[str, ...] = ()
    """A sentence for each tuning Workspace that has not finished."""
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Found:
    """One adapter on its way."""

    image: str | None = None
    volume: Object | None = None
    pin: Pin | None = None
    waiting: str = ""
    problems: list[Problem] = field(default_factory=list)


def resolve(workspace: Workspace, preset: Preset, around: Surroundings) -> Sources:
    """The adapters of an inference Workspace; one that cannot be served is named in a problem."""
    adapters = workspace.inference.adapters if workspace.inference else ()
    sources = [(a, a.source) for a in adapters if a.source is not None and a.source.name]
    found = [(a, s, _found(workspace, s, preset, around)) for a, s in sources]
    served = [(a, s, f) for a, s, f in found if f.image or f.volume is not None]
    made = [_plan(number, *one, around) for number, one in enumerate(served)]
    mounts = tuple(mount for _, mount in made if mount is not None)
    secrets = (n for _, s, f in served if f.image for n in _secrets(s, f))
    return Sources(
        plans=tuple(plan for plan, _ in made),
        origins=tuple(_origin(*one, around) for one in zip(served, made, strict=True)),
        mounts=mounts,
        mounted_images=tuple(m.source["image"]["reference"] for m in mounts if "image" in m.source),
        pull_secrets=tuple(dict.fromkeys(secrets)),
        pins=tuple(f.pin for _, _, f in found if f.pin is not None),
        waiting=tuple(f.waiting for _, _, f in found if f.waiting),
        problems=tuple(problem for _, _, f in found for problem in f.problems),
    )


def _secrets(source: AdapterSource, found: _Found) -> Iterator[str]:
    yield from source.image_pull_secrets
    if not source.image_pull_secrets and found.pin is not None and found.pin.secret:
        yield found.pin.secret


def _plan(
    number: int, adapter: Adapter, source: AdapterSource, found: _Found, around: Surroundings
) -> tuple[AdapterPlan, Mount | None]:
    name, strength = str(source.name), float(adapter.strength or 1)
    pulled = not around.image_volumes or found.image in around.unmountable
    if found.volume is None and pulled:
        return AdapterPlan(name=name, strength=strength, image=found.image), None
    volume = found.volume if found.volume is not None else _image_volume(found.image)
    mount = Mount(f"adapter-{number}", volume, f"{SOURCES}/{name}", main=False)
    return AdapterPlan(name=name, strength=strength, path=mount.path), mount


def _origin(
    served: tuple[Adapter, AdapterSource, _Found],
    made: tuple[AdapterPlan, Mount | None],
    around: Surroundings,
) -> str:
    image = served[2].image
    if image is None:
        return str(made[0].path)
    return f"{image} pulled" if image in around.unmountable else image


def _image_volume(image: str | None) -> Object:
    return {"image": {"reference": image}}


def _found(
    workspace: Workspace, source: AdapterSource, preset: Preset, around: Surroundings
) -> _Found:
    if source.workspace is None:
        return _Found(image=source.image, volume=source.volume)
    followed = workspace.annotations.get(marks.FOLLOW) == "true"
    mine = (p for p in around.pins if (p.name, p.workspace) == (source.name, source.workspace))
    pin = next(mine, None)
    if pin is not None and not followed:
        return _Found(image=pin.image, pin=pin)
    found = _made(workspace, source, preset, around)
    if pin is not None and found.pin is None:
        # What is served goes on while the next one is made, or when it is never made.
        return _Found(image=pin.image, pin=pin, problems=found.problems)
    return found


def _made(
    workspace: Workspace, source: AdapterSource, preset: Preset, around: Surroundings
) -> _Found:
    """What a tuning Workspace has made, or why there is nothing to serve."""
    namespace, name = place(workspace.namespace, str(source.workspace))
    tuned = around.tuned.get((namespace, name))
    if tuned is None or not _may(workspace, namespace, tuned):
        # Whether a Workspace exists is nobody's business in another namespace.
        do = "write a tuning Workspace's name" + _sharing(workspace, namespace)
        return _bad(source, f"there is no Workspace {name} in namespace {namespace}", do)
    if not tuned.tunes:
        return _bad(source, f"the Workspace {name} serves, it does not tune", "name one that tunes")
    if tuned.outcome == "Failed":
        do = f"see `kubectl describe workspace {name}`, or name another adapter"
        return _bad(source, f"the tuning of {name} has failed", do)
    if tuned.outcome != "Succeeded":
        return _Found(waiting=f"the tuning of {name} (adapter {source.name}) has not finished")
    if tuned.base_model and not preset.answers_to(tuned.base_model):
        what = f"the Workspace {name} tunes {tuned.base_model}, and {preset.id} is served"
        return _bad(source, what, f"serve {tuned.base_model}, or name another adapter")
    return _output(source, tuned, namespace == workspace.namespace)


def _output(source: AdapterSource, tuned: Tuned, same_namespace: bool) -> _Found:
    if tuned.image and tuned.digest:
        try:
            image = str(parse(tuned.image).at(tuned.digest))
        except ValueError:
            image = ""
        secret = tuned.push_secret if same_namespace else ""
        if image:
            names = str(source.name), str(source.workspace)
            return _Found(image=image, pin=Pin(*names, image, tuned.base_revision, secret))
    if tuned.volume is not None and same_namespace:
        return _Found(volume=tuned.volume)
    if tuned.volume is not None:
        what = f"the Workspace {source.workspace} keeps its adapter on a volume of its namespace"
        return _bad(source, what, "let it push an image")
    what = f"the Workspace {source.workspace} does not say which image it has made"
    return _bad(source, what, "run it again with the annotation tunery.sh/retry")


def _bad(source: AdapterSource, what: str, do: str) -> _Found:
    return _Found(problems=[Problem(f"adapter {source.name}", what, do, "generic")])


def _may(workspace: Workspace, namespace: str, tuned: Tuned) -> bool:
    """Another namespace's adapter is served only where that namespace says so."""
    allowed = (workspace.namespace, "*")
    return namespace == workspace.namespace or any(one in allowed for one in tuned.shared_with)


def _sharing(workspace: Workspace, namespace: str) -> str:
    if namespace == workspace.namespace:
        return ""
    return f", and let it be shared: annotation {marks.SHARE_WITH}: {workspace.namespace}"
