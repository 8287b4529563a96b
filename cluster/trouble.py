"""What stops the cluster, told to the person who started it: causes, all of them at once."""

from __future__ import annotations

from collections.abc import Sequence


class Trouble(Exception):
    """One or more causes, each a sentence that says what to do."""

    def __init__(self, *causes: str) -> None:
        super().__init__("; ".join(causes))
        self.causes = causes


class CommandFailed(Trouble):
    """A command ended with an exit status other than 0; the cause holds the end of its output."""

    def __init__(self, argv: Sequence[str], exit_status: int, output: str) -> None:
        lines = [line for line in output.splitlines() if line.strip()][-8:]
        told = "\n    ".join(lines) or "(it said nothing)"
        super().__init__(f"{' '.join(argv)[:300]} ended with {exit_status}:\n    {told}")
        self.exit_status = exit_status
        self.output = output
