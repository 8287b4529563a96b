"""Progress: how far a run is, for whoever watches.

The trainer's callback (training/callbacks.py) makes one per step; a sink shows it: the terminal's
bar, the Prometheus endpoint (tuning/metrics.py), the pod's last words. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run after `step` of `of` optimizer steps."""

    step: int
    of: int
    loss: float | None = None
    """Mean loss per trained token of the last step."""
    eval_loss: float | None = None
    learning_rate: float | None = None
    epoch: float = 0.0
    tokens: int = 0
    """Seen since the first step of the run, restarts included."""
    tokens_per_s: float | None = None
    """This process's rate."""
    eta_s: float | None = None
    """Seconds to the last step at this process's rate; None until a step has been timed."""
    kept_step: int | None = None
    """Of the newest checkpoint that outlives the pod: a new one would go on from it."""

    @property
    def percent(self) -> int:
        """0 to 100, rounded down: 100 only when the last step has run."""
        return 100 * self.step // self.of if self.of else 0


class ProgressSink(Protocol):
    """Whoever is told. Must not block: it is called between two steps."""

    def progress(self, now: Progress) -> None:
        """A step has ended."""

    def note(self, text: str) -> None:
        """One line for the log: a decision and its reason, or a warning."""


class Quiet:
    """A sink that shows nothing."""

    def progress(self, now: Progress) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class Several:
    """One sink made of many, told in order."""

    def __init__(self, *sinks: ProgressSink) -> None:
        self._sinks = sinks

    def progress(self, now: Progress) -> None:
        for sink in self._sinks:
            sink.progress(now)

    def note(self, text: str) -> None:
        for sink in self._sinks:
            sink.note(text)


class Pace:
    """The rate of this process, from the steps it has run itself.

    A resumed run that divided its own seconds by all steps ever run would promise far too early an
    end (kubeflow's callback does).
    """

    def __init__(self, step: int, tokens: int, now_s: float) -> None:
        self._step, self._tokens, self._started_s = step, tokens, now_s

    def after(self, step: int, of: int, tokens: int, now_s: float) -> tuple[float, float] | None:
        """(tokens per second, seconds left), or None before the first step has been timed."""
        steps, seconds = step - self._step, now_s - self._started_s
        if steps <= 0 or seconds <= 0:
            return None
        return (tokens - self._tokens) / seconds, seconds / steps * (of - step)


class Quarters:
    """Byte counts → a line at each quarter; nothing for what is over in a moment.

    Called with (what, bytes so far, bytes in all or None).
    """

    def __init__(self, note: Callable[[str], None], verb: str, least_bytes: int = 1 << 24) -> None:
        self._note, self._verb, self._least_bytes = note, verb, least_bytes
        self._told: dict[str, int] = {}

    def __call__(self, what: str, done_bytes: int, total_bytes: int | None) -> None:
        if total_bytes is None or total_bytes < self._least_bytes:
            return
        quarter = 4 * done_bytes // total_bytes
        if quarter > self._told.get(what, 0):
            self._told[what] = quarter
            size = f"{done_bytes / 1e6:,.1f} of {total_bytes / 1e6:,.1f} MB"
            self._note(f"{self._verb} {size} of {what}")


class Rows:
    """Row counts → a line every hundred thousand."""

    def __init__(self, note: Callable[[str], None], every: int = 100_000) -> None:
        self._note, self._every, self._told = note, every, 0

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if done // self._every > self._told:
            self._told = done // self._every
            self._note(f"checked {done:,} {what}")
