"""The progress bar of `tunery run`: step, loss, tokens/s, time left. A sink for tuning/progress.py.

On a terminal it is one live line; in a log (no terminal) it is a line every ten percent, so that a
CI log stays readable.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from tuning.progress import Progress


class Bar:
    """Shows a run's steps on standard error; a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live = RichProgress(
            TextColumn("training"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._tenth = -1

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._console.print(text, markup=False, soft_wrap=True)

    def progress(self, now: Progress) -> None:
        if self._console.is_terminal:
            self._move(now)
        elif now.percent // 10 != self._tenth:
            self._tenth = now.percent // 10
            self.note(f"step {now.step}/{now.of} ({now.percent} %)  {said(now)}")

    def _move(self, now: Progress) -> None:
        if self._task is None:
            self._task = self._live.add_task("training", total=now.of, said="")
        self._live.update(self._task, completed=now.step, said=said(now))


def said(now: Progress) -> str:
    """`loss 0.412  310 tokens/s  1:20 left`: what is known, nothing else."""
    parts = []
    if now.loss is not None:
        parts.append(f"loss {now.loss:.3f}")
    if now.tokens_per_s is not None:
        parts.append(f"{now.tokens_per_s:,.0f} tokens/s")
    if now.eta_s is not None and now.step < now.of:
        parts.append(f"{duration(now.eta_s)} left")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """`0:42`, `12:05`, `3:10:00`."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
