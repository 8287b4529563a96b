"""Stop: the wish to end early, from the first line of main to the last step.

`__main__` installs the signal handlers, which only call `request`; the trainer looks at it at the
end of each step, never in the middle of one: a save in mid-step would not resume bitwise, because
the forward pass has already drawn random numbers. Imports no torch.
"""

from __future__ import annotations

from tuning.failure import Failure, Kind


class Stop:
    """A flag that is raised once. Safe to raise from a signal handler or another thread."""

    def __init__(self) -> None:
        self._reason: str | None = None

    def request(self, reason: str) -> None:
        """Ask for an end at the next safe point; the first reason is kept."""
        if self._reason is None:
            self._reason = reason

    @property
    def requested(self) -> bool:
        return self._reason is not None

    @property
    def reason(self) -> str:
        """Why, e.g. "SIGTERM"; empty while nobody has asked."""
        return self._reason or ""

    def check(self, where: str) -> None:
        """Between two phases. Raises Failure (INTERRUPTED) when an end was asked for."""
        if self.requested:
            sentence = f"stopped by {self.reason} {where}; run the same command again to go on"
            raise Failure(Kind.INTERRUPTED, sentence)
