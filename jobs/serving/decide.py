"""What to do about an inference Workspace: the half of jobs/decide.py that serves. Pure.

Adapters first: tuning Workspaces are waited for, and what they have made is pinned. Then the
objects, the StatefulSet last. One that serves what is asked for is left alone; a change that is
wrong, or that waits, stops nothing that serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jobs import keep, marks, nodes, revision
from jobs import serve as objects
from jobs.case import SERVING_CONFIG_KEY, Case
from jobs.decision import Action, Apply, Delete, Ref
from jobs.earlier import text
from jobs.order import context_of, problems_of
from jobs.rules.general import live
from jobs.seen import Holder
from jobs.serving import reload, remembered, surge
from jobs.serving.capable import image_volumes
from jobs.serving.order import ServeOrder, order
from jobs.serving.sources import Sources, Surroundings, resolve
from presets.problem import Problem
from serving.plan import adapter_set


@dataclass(frozen=True, slots=True)
class Serving:
    """What is done, and what is to be told."""

    order: ServeOrder
    """What is wanted."""
    actions: tuple[Action, ...] = ()
    problems: tuple[Problem, ...] = ()
    waiting: str = ""
    """Why what is wanted is not made yet."""
    replaces: bool = False
    """What serves now makes room for it."""
    reloads: bool = False
    """What serves now takes it over while it runs."""
    before: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """`status.adapters` as it was told last, by name."""
    taken: str = ""
    """Somebody else's object, which has a name that is needed."""

    @property
    def sources(self) -> Sources:
        return self.order.sources


def decide(case: Case) -> Serving:
    """What serves is kept; what is to serve is checked, waited for and made."""
    told = {text(one, "name"): one for one in remembered.adapters(case.previous)}
    return replace(_decided(case), before=told)


def _decided(case: Case) -> Serving:
    wanted = _wanted(case)
    there = case.seen.stateful_set
    taken = _taken(case)
    if taken:
        return Serving(wanted, taken=taken)
    if there is not None and there.run == marks.short(wanted.hash) and not there.deleting:
        found = _live(case, wanted) if wanted.live else Serving(wanted, (*_kept(case, wanted),))
        return replace(found, actions=(*found.actions, *surge.ended(case, wanted, there)))
    problems = problems_of(case)
    if problems:
        return Serving(wanted, problems=problems)
    waiting = _waiting(wanted.sources)
    if waiting or not (there or case.nodes.enough):
        return Serving(wanted, (*keep.record(case), *keep.annotate(case)), waiting=waiting)
    if there is not None and (there.deleting or not there.run):
        # KAITO's, from before Tunery came: its pods are other pods.
        gone = () if there.deleting else (_delete(case, there),)
        return Serving(wanted, gone, waiting="the StatefulSet of before is being deleted")
    if there is not None and surge.has_room(case, wanted):
        wanted = replace(wanted, surge=True)
    return Serving(wanted, (*_made(case, wanted),), replaces=there is not None)


def _live(case: Case, wanted: ServeOrder) -> Serving:
    """Pods that take over what is new while they run. What can be served does not wait."""
    sources = wanted.sources
    waiting = _waiting(sources) if not sources.plans else "; ".join(sources.waiting)
    if not reload.is_news(case.seen.snapshots, wanted):
        told = reload.tell(case.seen, wanted, case.owner.namespace)
        return Serving(wanted, (*_kept(case, wanted), *told), waiting=waiting)
    problems = problems_of(case)
    if problems or (waiting and not sources.plans):
        return Serving(wanted, problems=problems, waiting=waiting)
    actions = (
        *map(Apply, objects.plans(wanted, case.owner)),
        *_kept(case, wanted),
        *reload.tell(case.seen, wanted, case.owner.namespace),
    )
    return Serving(wanted, actions, waiting=waiting, reloads=True)


def _wanted(case: Case) -> ServeOrder:
    installation = case.installation
    on_cpu = installation.device == "cpu"
    card = None if on_cpu else nodes.card(case.workspace, case.nodes, installation, case.catalog)
    sources, is_live = _sources(case), live(case.workspace)
    return order(
        case.workspace,
        _lasting(case) if is_live else case.run_hash,
        case.number,
        sources,
        card,
        case.nodes.gpus,
        context_of(case),
        installation,
        _restarted_for(case, sources) if is_live else "",
    )


def _lasting(case: Case) -> str:
    """The hash of the request without its adapters, which are live."""
    inference = dict(case.body["inference"])
    inference.pop("adapters", None)
    name = inference.get("config")
    data = (case.seen.config_maps or {}).get((case.owner.namespace, name)) if name else None
    text = (data or {}).get(SERVING_CONFIG_KEY)
    return revision.hash_of({**case.body, "inference": inference}, text)


def _restarted_for(case: Case, sources: Sources) -> str:
    """The set that pods are replaced for, because those that run cannot take it over."""
    wanted = adapter_set(sources.plans, case.workspace.annotations.get(marks.TOGETHER))
    there = case.seen.stateful_set
    if there is not None and reload.cannot(case.seen, there.run, case.owner.name, wanted):
        return wanted
    return there.digest if there is not None else ""


def _sources(case: Case) -> Sources:
    if case.preset is None:
        return Sources()
    is_live = live(case.workspace)
    around = Surroundings(
        tuned=case.seen.tuned or {},
        pins=remembered.pins(case.previous),
        image_volumes=not is_live
        and image_volumes(case.installation.image_volumes, case.nodes.usable),
    )
    found = resolve(case.workspace, case.preset, around)
    if is_live:
        return replace(found, pull_secrets=_mounted(found.pull_secrets, case.seen.stateful_set))
    unmountable = remembered.unmountable(case.previous, case.seen.pods, found)
    if not unmountable:
        return found
    return resolve(case.workspace, case.preset, replace(around, unmountable=unmountable))


def _mounted(needed: Sequence[str], there: Holder | None) -> tuple[str, ...]:
    """The Secrets of pods with live adapters: those that they have, as long as they are enough."""
    have = there.secrets if there is not None else ()
    return have if set(needed) <= set(have) else tuple(sorted(needed))


def _waiting(sources: Sources) -> str:
    """A model without a single one of its adapters is nothing that anybody has asked for."""
    if sources.waiting:
        return "; ".join(sources.waiting)
    if sources.problems and not sources.plans:
        return "; ".join(problem.line() for problem in sources.problems)
    return ""


def _taken(case: Case) -> str:
    holders = (("StatefulSet", case.seen.stateful_set), *(("Service", s) for s in _services(case)))
    for kind, holder in holders:
        if holder is not None and holder.owner_uid != case.owner.uid:
            what = f'the {kind} "{holder.name}" belongs to somebody else'
            return f"{what}; delete it, or give the Workspace another name"
    return ""


def _services(case: Case) -> tuple[Holder, ...]:
    return case.seen.services


def _made(case: Case, wanted: ServeOrder) -> Iterator[Action]:
    yield from keep.record(case)
    yield from keep.annotate(case)
    for made in objects.serve(wanted, case.owner, case.installation):
        yield Apply(made)
    yield from keep.prune(case)


def _kept(case: Case, wanted: ServeOrder) -> Iterator[Action]:
    """What belongs to a serving that is there: made again where it is missing or another."""
    yield from keep.record(case)
    short = marks.short(wanted.hash)
    if not any(s.run == short for s in case.seen.snapshots):
        yield from map(Apply, objects.plans(wanted, case.owner))
    have = {(s.name, s.digest) for s in _services(case) if not s.deleting}
    for service in objects.services(wanted, case.owner):
        metadata = service["metadata"]
        if (metadata["name"], metadata["annotations"][marks.DIGEST]) not in have:
            yield Apply(service)
    yield from keep.annotate(case)
    yield from keep.prune(case)
    yield from _forgotten_plans(case, short)


def _forgotten_plans(case: Case, short: str) -> Iterator[Action]:
    """Plans that no pod reads any more."""
    read = {short, *(pod.run for pod in case.seen.pods)}
    for plan in case.seen.snapshots:
        if plan.run not in read:
            yield Delete(Ref("v1", "ConfigMap", case.owner.namespace, plan.name))


def _delete(case: Case, there: Holder) -> Delete:
    return Delete(Ref("apps/v1", "StatefulSet", case.owner.namespace, there.name, there.uid))
