"""`tunery run FILE`: the whole chain on this machine, the same three words as in the pod.

Run it again and it goes on: what is whole is kept, a finished run only pushes.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING

from tunery import output, show
from tunery import plan as plans
from tuning import run as runs
from tuning.failure import Failure, Kind
from tuning.run import Run
from tuning.signals import Signals
from tuning.stop import Stop

if TYPE_CHECKING:
    from tuning.push import Pushed
    from tuning.result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    plans.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    signals = Signals(Stop())
    with signals.installed():
        try:
            return _run(arguments, signals)
        except KeyboardInterrupt:
            failure = Failure(Kind.INTERRUPTED, f"stopped by {signals.stop.reason}")
            raise failure from None


def _run(arguments: argparse.Namespace, signals: Signals) -> int:
    from tunery import machine

    planned = plans.plan(arguments, machine.here())
    run = planned.run
    output.tell_problems(planned.warnings)
    _keep(run)
    for line in show.settings(run):
        output.tell(line)
    try:
        trained, pushed = _words(run, signals)
    except Failure as failure:
        if failure.kind is Kind.INTERRUPTED:
            again = shlex.join(["tunery", *sys.argv[1:]])
            raise Failure(failure.kind, f"{failure.sentence}\n  {again}") from failure
        raise
    _report(arguments, run, trained, pushed)
    return 0


def _keep(run: Run) -> None:
    """Leave run.json in the work folder, as the operator leaves it in a ConfigMap."""
    work = run.places.work_dir
    try:
        work.mkdir(parents=True, exist_ok=True)
        runs.write(run, work / "run.json")
    except OSError as error:
        sentence = f"the work folder {work} cannot be used: {error.strerror}; give another --work"
        raise Failure(Kind.BAD_CONFIG, sentence) from error


def _words(run: Run, signals: Signals) -> tuple[Result, Pushed]:
    from tunery.bar import Bar
    from tuning.dataset import report
    from tuning.progress import Quarters
    from tuning.words import Words

    with Bar() as bar:
        words = Words(run, signals, bar)
        ready = words.prepare()
        for line in report.lines(ready.report):
            bar.note(line)
        for warning in ready.warnings:
            bar.note(f"warning: {warning}")
        bar.note(f"{ready.steps} steps over {ready.tokens:,} tokens")
        trained = words.train()
        told = Quarters(bar.note, "pushed")
        return trained, words.push(lambda done, total: told("the adapter", done, total))


def _report(arguments: argparse.Namespace, run: Run, trained: Result, pushed: Pushed) -> None:
    if arguments.json:
        output.say_json(
            {
                "name": run.name,
                "image": pushed.target,
                "digest": pushed.digest,
                "size_bytes": pushed.size_bytes,
                "adapter": str(run.places.adapter_dir),
                "steps": trained.steps,
                "final_loss": trained.final_loss,
                "eval_loss": trained.eval_loss,
                "tokens": trained.tokens,
                "seconds": trained.seconds,
            }
        )
        return
    from tunery.bar import duration

    took = f"{trained.steps} steps in {duration(trained.seconds)}"
    output.say(f"trained  {took}, loss {trained.final_loss:.3f}")
    output.say(f"adapter  {run.places.adapter_dir}")
    output.say(f"pushed   {pushed.pinned}")
    if not pushed.is_image:
        output.say(f"digest   {pushed.digest}")
