"""Pods and adapters → is everything served that was asked for, and what is not. Pure.

Called by jobs/decide.py; jobs/conditions.py tells it. Every adapter is named, those that are not
served with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jobs import marks
from jobs.causes.cause import Cause, short
from jobs.causes.creation import refused
from jobs.conditions import Reason
from jobs.facts import Facts, ServingVerdict
from jobs.seen import Pod, Seen
from jobs.serving import reload
from jobs.serving.decide import Serving
from jobs.serving.said import prepared, reported
from jobs.serving.sources import Pin
from jobs.serving.trouble import is_ready, trouble
from jobs.workspace import AdapterSource
from serving.lastwords import AdapterWords, ServeWords

_READY = "Inference has been deployed successfully"
_PENDING = "Inference workload is not ready"


def verdict(serving: Serving, facts: Facts) -> ServingVerdict:
    """What to say of the serving that is there. `facts` are without it."""
    seen = facts.seen
    run = _deployed(serving, facts) or marks.short(serving.order.hash)
    pods = [pod for pod in seen.pods if pod.run == run]
    adapters = tuple(_adapters(serving, pods, seen))
    ready, reason, message = _condition(serving, facts, pods, adapters)
    answers = any(is_ready(pod) for pod in seen.pods)
    return ServingVerdict(ready, reason, message, answers, adapters)


def _condition(
    serving: Serving, facts: Facts, pods: Sequence[Pod], adapters: Sequence[dict[str, Any]]
) -> tuple[bool, str, str]:
    """Ready?, reason and message."""
    if serving.taken:
        return False, Reason.NAME_TAKEN, serving.taken
    goes_on = "; what was served before goes on" if any(map(is_ready, facts.seen.pods)) else ""
    unserved = _unserved(adapters)
    bad = _unserved([a for a in adapters if a.get("message")])
    loading = unserved and not bad and serving.order.live
    if serving.waiting:
        waits = Reason.ADAPTER_WAITS if serving.sources.waiting else Reason.ADAPTER
        return False, waits, serving.waiting + goes_on
    count = serving.order.workspace.resource.count
    up = [pod for pod in pods if is_ready(pod)]
    cause = None if len(up) >= count else _cause(facts, pods)
    if cause is not None:
        return False, cause.reason, "; ".join([cause.sentence, *bad])
    if len(up) < count:
        pending = _pending(facts, pods, up, count)
        return False, Reason.INFERENCE_PENDING, "; ".join([pending, *bad])
    models = ", ".join(_models(serving, up, facts.seen))
    if unserved:
        reason = Reason.ADAPTER_WAITS if loading else Reason.ADAPTER
        return False, reason, f"{'; '.join(unserved)}; served: {models or 'nothing'}"
    return True, Reason.INFERENCE_READY, f"{_READY}: {models}" if models else _READY


def _pending(facts: Facts, pods: Sequence[Pod], up: Sequence[Pod], count: int) -> str:
    """What it is about, while nothing is wrong."""
    others = [pod for pod in facts.seen.pods if pod not in pods]
    if others:
        return f"{_PENDING}: {len(up)} of {count} pods serve the change, the others are replaced"
    if not pods:
        return _PENDING
    running = [c for pod in pods for c in pod.containers if c.state == "running"]
    if any(c.init for c in running):
        return f"{_PENDING}: model and adapters are fetched and checked"
    if running:
        return f"{_PENDING}: the server loads; {len(up)} of {count} pods answer"
    return _PENDING


def _cause(facts: Facts, pods: Sequence[Pod]) -> Cause | None:
    there = facts.seen.stateful_set
    if not facts.seen.pods and there is not None:
        return refused(there.uid, facts)
    found = (trouble(pod, facts) for pod in pods)
    return next((cause for cause in found if cause is not None), None)


def _models(serving: Serving, up: Sequence[Pod], seen: Seen) -> tuple[str, ...]:
    """What all pods that answer know."""
    found = [words for pod in up if (words := _words_of(serving, pod, seen))]
    first = found[0].models if found else ()
    return tuple(name for name in first if all(name in words.models for words in found))


def _words_of(serving: Serving, pod: Pod, seen: Seen) -> ServeWords | None:
    """What a server with live adapters says of itself, else what `prepare` has said."""
    return reported(pod, serving.order.workspace.name, seen) or prepared(pod)


def _unserved(adapters: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for each adapter that is not served."""
    unserved = (a for a in adapters if not a.get("served"))
    return [str(a.get("message") or f"adapter {a['name']} is not served yet") for a in unserved]


def _adapters(serving: Serving, pods: Sequence[Pod], seen: Seen) -> Iterator[dict[str, Any]]:
    """`status.adapters`, in the user's order."""
    inference = serving.order.workspace.inference if serving.order.plan else None
    named = (
        [(a.source, a.strength or "") for a in inference.adapters if a.source] if inference else []
    )
    up = [pod for pod in pods if is_ready(pod)]
    told = [words for pod in reversed(pods) if (words := _words_of(serving, pod, seen))]
    unasked = serving.order.live and any(
        reported(pod, serving.order.workspace.name, seen) is None for pod in up
    )
    for source, strength in named:
        if source.name:
            wanted = _source(serving, source, strength)
            before = serving.before.get(source.name, {})
            if unasked and _same(before, wanted):
                yield dict(before)
                continue
            found = _found(serving, source.name, told)
            served = bool(up) and found is not None and found.sentence is None
            meanwhile = _meanwhile(source.name, told) if found is None else {}
            yield {**wanted, **meanwhile, "served": served, **_words(serving, source, found)}


def _meanwhile(name: str, told: Sequence[ServeWords]) -> dict[str, str]:
    """The digest of what still answers to a live adapter's name."""
    found = (one for words in told for one in words.adapters if one.name == name)
    digest = next((one.digest for one in found if one.digest and not one.sentence), None)
    return {"digest": digest} if digest else {}


def _same(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether an adapter was told of before as it is wanted now: an operator that starts does not
    know yet what servers say, and nothing has become untrue by that."""
    return bool(before) and all(before.get(key) == value for key, value in wanted.items())


def _found(serving: Serving, name: str, told: Sequence[ServeWords]) -> AdapterWords | None:
    """What there is to say of one adapter."""
    if serving.order.live:
        return reload.told_of(name, serving.order, told)
    found = (one for words in told for one in words.adapters if one.name == name)
    return next(found, None)


def _source(serving: Serving, source: AdapterSource, strength: str) -> dict[str, Any]:
    """Name, place, strength and pin."""
    name = str(source.name)
    sources = serving.sources
    pin = next((p for p in sources.pins if p.name == name), Pin(name, "", source.image or ""))
    origin = next(
        (o for p, o in zip(sources.plans, sources.origins, strict=True) if p.name == name), ""
    )
    parts = {
        "name": name,
        "workspace": source.workspace or "",
        "image": pin.image,
        "strength": strength,
        "baseRevision": pin.revision,
        "pullSecret": pin.secret,
        "pulled": origin.endswith(" pulled"),
    }
    return {key: value for key, value in parts.items() if value}


def _words(serving: Serving, source: AdapterSource, found: AdapterWords | None) -> dict[str, Any]:
    """Digest; kind and sentence of what is wrong."""
    problem = next(
        (p for p in serving.sources.problems if p.path == f"adapter {source.name}"), None
    )
    if problem is not None:
        return {"reason": "NoSource", "message": short(problem.line(), 500)}
    if found is None:
        return {}
    pin = next((p for p in serving.sources.pins if p.name == source.name), None)
    # The kubelet has mounted what was pinned, and `prepare` sees only a folder.
    digest = (pin.image if pin else source.image or "").partition("@")[2]
    parts = {
        "digest": found.digest or digest,
        "reason": found.kind,
        "message": found.sentence or found.warning,
    }
    return {key: short(value, 500) for key, value in parts.items() if value}


def _deployed(serving: Serving, facts: Facts) -> str:
    """Which serving there is, after what is done now; "" while there is none."""
    there = facts.seen.stateful_set
    if there is None or serving.replaces:
        return marks.short(serving.order.hash) if serving.replaces else ""
    return there.run


def with_verdict(facts: Facts, serving: Serving, memory_gib: int) -> Facts:
    """The facts, and what they say of the serving; `memory_gib` is the servers' limit."""
    deployed = _deployed(serving, facts)
    run, found = facts.run, facts
    if run is not None:
        planned = bool(deployed and serving.order.plan)
        run = replace(run, snapshot=marks.snapshot(facts.name, deployed) if planned else "")
        # Pods carry the hash of what they serve, not the one of the request.
        found = replace(facts, run=replace(run, hash=deployed or serving.order.hash))
    found = replace(found, memory_gib=memory_gib)
    return replace(facts, run=run, memory_gib=memory_gib, serving=verdict(serving, found))
