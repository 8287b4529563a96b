"""Keeper: checkpoints that outlive the pod, uploaded while training goes on.

One thread, one upload at a time, the newest checkpoint next: a slow registry never holds up a step.
It reads links to the files, so that the work folder may rotate meanwhile. Part of `train`; what a
checkpoint is in a registry stands in kept.py. Imports no torch.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tuning import kept
from tuning.failure import Failure, Kind
from tuning.images.registry import Registry
from tuning.push import client
from tuning.reference import Reference
from tuning.retry import Patience
from tuning.run import Run
from tuning.training import checkpoint
from tuning.training.checkpoint import Facts

Note = Callable[[str], None]

_LEAVE = Patience(deadline_s=20)
"""The adapter is published by then: a checkpoint that stays is not worth a longer wait."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Links to a checkpoint, and to the best one, in a folder of their own."""

    folder: Path
    step: int


class _NoUse(Exception):
    """Nobody needs this upload any more."""


class Keeper:
    """Keeps the newest checkpoint of a run at one name, for as long as the registry lets it.

    Leaving it after an error finishes the newest upload; after a finished training it is dropped.
    """

    def __init__(self, registry: Registry, name: Reference, work: Path, note: Note) -> None:
        self._registry, self._name, self._work, self._note = registry, name, work, note
        self._changed = threading.Condition()
        self._next: _Waiting | None = None
        self._leaving = self._dropping = self._refused = False
        self._step: int | None = None
        self._thread = threading.Thread(target=self._upload_all, name="keeper", daemon=True)

    @property
    def step(self) -> int | None:
        """Of the checkpoint that is in the registry now."""
        return self._step

    def fetch(self, known: Facts) -> None:
        """Bring the checkpoint of exactly this run into a work folder that has none.

        Raises Failure (UNAVAILABLE): starting from zero would be worse than trying again.
        """
        if checkpoint.sealed_in(self._work):
            return
        try:
            self._fetch(known)
        except Failure as failure:
            if failure.kind is Kind.UNAVAILABLE:
                raise
            self._refused = failure.kind is Kind.NO_ACCESS
            self._note(f"no checkpoint is taken from {self._name}: {failure.sentence}")

    def _fetch(self, known: Facts) -> None:
        found = kept.find(self._registry, self._name)
        if found is None or not found.facts:
            return
        if found.facts != known.digest():
            self._note(f"{self._name} is of other settings, rows or weights and is not used")
            return
        brought = kept.fetch(self._registry, found, self._work)
        self._step = brought.step
        self._note(f"fetched the checkpoint of step {brought.step} from {self._name}")

    def offer(self, folder: Path, best: Path | None = None) -> None:
        """Keep a sealed checkpoint, and the best one with it. Returns at once."""
        if self._refused:
            return
        waiting = self._linked([folder, *([best] if best and best.is_dir() else [])])
        with self._changed:
            skipped, self._next = self._next, waiting
            self._changed.notify()
        if skipped:
            shutil.rmtree(skipped.folder)

    def _linked(self, folders: list[Path]) -> _Waiting:
        step = checkpoint.seal_of(folders[0]).step
        place = self._work / ".keeping" / str(step)
        shutil.rmtree(place, ignore_errors=True)
        for folder in dict.fromkeys(folders):
            shutil.copytree(folder, place / folder.name, copy_function=os.link)
        return _Waiting(place, step)

    def _upload_all(self) -> None:
        while (waiting := self._take()) is not None:
            self._upload(waiting)
            shutil.rmtree(waiting.folder)

    def _take(self) -> _Waiting | None:
        with self._changed:
            self._changed.wait_for(lambda: self._next or self._leaving)
            taken, self._next = self._next, None
            return None if self._dropping else taken

    def _upload(self, waiting: _Waiting) -> None:
        if self._refused:
            return
        try:
            kept.keep(self._registry, self._name, waiting.folder, self._stop_if_no_use)
        except _NoUse:
            return
        except Failure as failure:
            self._refused = failure.kind is not Kind.UNAVAILABLE
            then = "no other will be" if self._refused else "the next one may be"
            what = f"the checkpoint of step {waiting.step} is not kept outside this pod, {then}"
            self._note(f"{what}: {failure.sentence}")
            return
        self._step = waiting.step
        self._note(f"kept the checkpoint of step {waiting.step} as {self._name}")

    def _stop_if_no_use(self, done_bytes: int, total_bytes: int) -> None:
        if self._dropping or (self._leaving and self._next is not None):
            raise _NoUse

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            # What is no Exception is somebody who wants the process to end now.
            self._leaving, self._dropping = True, not isinstance(error, Exception)
            self._changed.notify()
        self._thread.join()
        shutil.rmtree(self._work / ".keeping", ignore_errors=True)


@contextmanager
def beside(run: Run, note: Note) -> Iterator[Keeper | None]:
    """The keeper of a run that wants one."""
    if not run.output.checkpoints:
        yield None
        return
    with Keeper(client(run), kept.place(run), run.places.work_dir, note) as keeper:
        yield keeper


def forget(run: Run, note: Note) -> None:
    """Remove the checkpoint of a run whose adapter is published; one that stays is only told."""
    if not run.output.checkpoints:
        return
    name = kept.place(run)
    try:
        why = "" if kept.forget(client(run, _LEAVE), name) else "the registry lets nobody remove it"
    except Failure as failure:
        why = failure.sentence
    if why:
        note(f"{name} is of no use any more and stays: {why}")
