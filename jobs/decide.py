"""What to do about one Workspace: body + what is seen → actions, status, events. Pure.

Called by operator/reconcile.py at every wake-up, whatever woke it, and by `tunery render` for a
file. Level-triggered: the answer depends on what is there now, so any prefix of its actions may be
lost and the next answer ends in the same objects. A change of the spec, of the ConfigMap's content
or of the annotation tunery.sh/retry is another run; nothing else is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jobs import keep
from jobs.case import Case, owner_of, read
from jobs.decision import Action, Apply, Decision, Event
from jobs.events import events, reloaded, rolled
from jobs.facts import Facts, NodesVerdict
from jobs.installation import Installation
from jobs.lost import lost
from jobs.marks import METRICS_PORT
from jobs.order import order, predicted_gib, problems_of
from jobs.reading import Reading, read_words
from jobs.seen import Pod, Seen
from jobs.serving import decide as serving
from jobs.serving import reload
from jobs.serving import rolled as changes
from jobs.serving.verdict import with_verdict
from jobs.status import status
from jobs.tune import tune
from presets import Catalog
from presets.problem import Problem

Events = tuple[Event, ...]
_UNREAD = NodesVerdict(ready=False, reason="NodeNotReady", message="the Workspace is unreadable")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is done, and what is to be told besides what is seen."""

    actions: tuple[Action, ...] = ()
    problems: tuple[Problem, ...] = ()
    waiting: str = ""
    serving: serving.Serving | None = None


def decide(
    body: Mapping[str, Any],
    seen: Seen,
    previous: Mapping[str, Any],
    installation: Installation,
    catalog: Catalog,
    now: str,
    error: str = "",
    reading: Reading | None = None,
) -> Decision:
    """The next actions for a Workspace, and the status that it should show.

    `previous` is the status written last, `error` what went wrong the last time, `reading` the
    body's own if it was read before. Never raises for what a user wrote.
    """
    if (body.get("metadata") or {}).get("deletionTimestamp"):
        return Decision()
    reading = reading or read_words(body, installation)
    case = read(body, reading, seen, previous, installation, catalog)
    if isinstance(case, Case):
        answer = _serve(case) if case.workspace.inference else _tune(case)
        facts = _facts(case, answer, error)
    else:
        answer, facts = _Answer(), _unreadable(body, seen, case, error)
    told = status(facts, previous, now)
    namespace, patience_s = owner_of(body).namespace, installation.lost_node_s
    away = lost(seen.pods, seen.nodes, namespace, now, patience_s)
    return Decision(
        actions=(*away.given_up, *answer.actions),
        again_after_s=away.again_after_s,
        status=told,
        events=_events(answer, previous, told),
        watch_progress_of=_metrics_url(facts.pods),
        adapters_of=reload.unsettled(seen, answer.serving.order) if answer.serving else {},
    )


def _events(answer: _Answer, previous: Mapping[str, Any], told: Mapping[str, Any]) -> Events:
    found: list[Event] = []
    if answer.serving is not None and previous.get("state") in ("Ready", "NotReady"):
        if answer.serving.replaces:
            surge = answer.serving.order.surge
            found.append(rolled(changes.rolled(previous, told, surge=surge)))
        if answer.serving.reloads:
            found.append(reloaded(changes.reloaded(previous, told)))
    return (*found, *(() if told == previous else events(previous, told)))


def _serve(case: Case) -> _Answer:
    """The other half: adapters, then the objects that serve them."""
    found = serving.decide(case)
    return _Answer(found.actions, found.problems, found.waiting, found)


def _tune(case: Case) -> _Answer:
    """What ran before is stopped, then nodes must be there, then the Job is made."""
    job = case.seen.job
    if case.foreign:
        return _Answer()  # told by the status
    if case.job is not None:
        return _Answer(tuple(_kept(case)))
    if case.finished:
        stray = keep.stop(case, job) if job else ()
        return _Answer((*stray, *_kept(case)))
    problems = problems_of(case)
    if problems:
        # A change that is wrong stops nothing: what runs goes on.
        return _Answer(problems=problems)
    if job is not None:
        return _Answer((*keep.stop(case, job),), waiting="the Job of the run before is stopping")
    return _start(case)


def _start(case: Case) -> _Answer:
    """A new run. The Job comes last: once it is there, all that its pod reads is there."""
    if not case.nodes.enough:
        return _Answer((*keep.record(case), *keep.annotate(case)))
    made, problems = order(case)
    if made is None:
        return _Answer(problems=problems)
    snapshot, job = tune(made, case.owner, case.installation)
    actions = (
        *keep.record(case),
        *(() if keep.has_snapshot(case) else (Apply(snapshot),)),
        *keep.annotate(case),
        Apply(job),
        *keep.prune(case),
    )
    return _Answer(actions)


def _kept(case: Case) -> Iterator[Action]:
    """What belongs to a run that is there already: made again where it is missing or edited."""
    yield from keep.record(case)
    if case.job is not None and not case.job.deleting and not keep.has_snapshot(case):
        made, _ = order(case)
        if made is not None:
            yield Apply(tune(made, case.owner, case.installation)[0])
    yield from keep.annotate(case)
    if case.job is not None:
        yield from keep.put_back(case, case.job)
    yield from keep.prune(case)


def _facts(case: Case, answer: _Answer, error: str) -> Facts:
    # Beside problems the run that is told about is the one before: it was not stopped.
    run = case.earlier_run() if answer.problems else case.wanted_run()
    pods = [pod for pod in case.seen.pods if run and pod.run == run.short]
    facts = Facts(
        name=case.owner.name,
        uid=case.owner.uid,
        generation=_generation(case.body),
        kind="inference" if case.workspace.inference else "tuning",
        nodes=case.nodes.verdict(),
        seen=case.seen,
        workspace=case.workspace,
        problems=answer.problems,
        run=run,
        waiting=answer.waiting,
        error=error,
        gpus_per_pod=case.nodes.gpus,
        card_gib=predicted_gib(case, pods),
        memory_gib=case.installation.memory_gib,
        suspended=bool(case.job and case.job.suspended),
    )
    if answer.serving is None:
        return facts
    return with_verdict(facts, answer.serving, case.installation.serving_memory_gib)


def _unreadable(
    body: Mapping[str, Any], seen: Seen, problems: tuple[Problem, ...], error: str
) -> Facts:
    owner = owner_of(body)
    return Facts(
        name=owner.name,
        uid=owner.uid,
        generation=_generation(body),
        kind="inference" if body.get("inference") else "tuning",
        nodes=_UNREAD,
        seen=seen,
        problems=problems,
        error=error,
    )


def _generation(body: Mapping[str, Any]) -> int:
    found = (body.get("metadata") or {}).get("generation")
    return found if isinstance(found, int) else 0


def _metrics_url(pods: tuple[Pod, ...]) -> str:
    """Where the pod that trains tells how far it is; empty while none does."""
    for pod in reversed(pods):
        if pod.ip and any(c.state == "running" and not c.init for c in pod.containers):
            return pod.url(METRICS_PORT, "/metrics")
    return ""
