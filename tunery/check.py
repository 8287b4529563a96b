"""`tunery check FILE`: all that can be known before training. Trains nothing, pushes nothing.

Plans for the Workspace's instance type, reads every row, asks the registry. A finding does not stop
the ones after it: all of them are told, and the first one's kind is the exit code.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tunery import output, show
from tunery import plan as plans
from tunery.plan import Planned
from tuning.failure import Failure
from tuning.prepared import Prepared
from tuning.run import Run

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    plans.add_arguments(parser)
    parser.add_argument("--no-push", action="store_true", help="do not ask the registry")
    parser.add_argument("--no-data", action="store_true", help="do not fetch or read the data")


def call(arguments: argparse.Namespace) -> int:
    planned = plans.plan(arguments, None)
    run = planned.run
    output.tell_problems(planned.warnings)
    failures: list[Failure] = []
    with _work(arguments, run) as placed:
        ready = None if arguments.no_data else _or_none(lambda: _data(placed), failures)
        access = None if arguments.no_push else _or_none(lambda: _push(placed), failures)
    if arguments.json:
        output.say_json(_as_json(run, planned, ready, access, failures))
    else:
        for line in _lines(run, planned, ready, access):
            output.say(line)
    for failure in failures:
        output.tell(f"tunery: {failure.sentence}")
    return failures[0].kind.exit_code if failures else 0


@contextmanager
def _work(arguments: argparse.Namespace, run: Run) -> Iterator[Run]:
    """The run in the work folder that was named, else in one that is thrown away."""
    if arguments.work:
        yield run
        return
    with tempfile.TemporaryDirectory(prefix="tunery-check-") as folder:
        places = run.places.model_copy(update={"work": folder})
        yield run.model_copy(update={"places": places})


def _or_none(call: Callable[[], T], failures: list[Failure]) -> T | None:
    try:
        return call()
    except Failure as failure:
        failures.append(failure)
        return None


def _data(run: Run) -> Prepared:
    from tuning.prepare import prepare
    from tuning.stop import Stop

    return prepare(run, Stop(), lambda _: None, push_checked=False, with_weights=False)


def _push(run: Run) -> str:
    from tuning.prepare import check_push

    return check_push(run) if run.output.kind == "image" else "nothing to ask: not a registry"


def _lines(run: Run, planned: Planned, ready: Prepared | None, access: str | None) -> Iterator[str]:
    yield f"{run.name}: {run.method} of {run.model.id} on {run.hardware.name or 'any card'}"
    yield from show.settings(run)
    plan = planned.memory
    if plan is not None:
        yield from show.memory(plan, run.hardware.name, run.hardware.gib_per_gpu)
    if ready is not None:
        from tuning.dataset import report

        yield from report.lines(ready.report)
        yield from (f"warning: {text}" for text in ready.warnings)
        yield f"steps: {ready.steps} over {ready.tokens:,} tokens"
    if access is not None:
        yield f"push: {run.output.target}: {access}"


def _as_json(
    run: Run,
    planned: Planned,
    ready: Prepared | None,
    access: str | None,
    failures: list[Failure],
) -> dict[str, Any]:
    plan = planned.memory
    return {
        "name": run.name,
        "settings": [r.model_dump() for r in run.resolved],
        "memory_gib": plan.estimate.total_gib if plan else None,
        "card_gib": run.hardware.gib_per_gpu,
        "data": ready.report.model_dump(mode="json") if ready else None,
        "steps": ready.steps if ready else None,
        "tokens": ready.tokens if ready else None,
        "push": access,
        "warnings": [*output.problems_json(planned.warnings), *(ready.warnings if ready else ())],
        "failures": [{"kind": f.kind.reason, "sentence": f.sentence} for f in failures],
    }
