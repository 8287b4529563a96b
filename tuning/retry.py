"""Again, when that may help: transient failures only, jittered, with a deadline.

Used by everything that talks to a registry, and by fetch.py. What is final raises Failure and
passes through.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tuning.failure import Failure, Kind

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Transient(Exception):
    """Did not work now and may work soon. `sentence` is what the user reads if it never does."""

    def __init__(self, sentence: str, retry_after_s: float | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one operation may go on failing, counted from its first failure.

    So a long upload that breaks late is still tried again, and one that never works ends.
    """

    deadline_s: float = 300
    first_wait_s: float = 0.5
    longest_wait_s: float = 30

    def wait_s(self, failures: int, retry_after_s: float | None) -> float:
        """Before the next attempt: what the server asked for, else exponential with full jitter."""
        if retry_after_s is not None:
            return max(retry_after_s, 0.0)
        longest = min(self.first_wait_s * 2 ** min(failures, 20), self.longest_wait_s)
        return random.uniform(longest / 2, longest)


def patiently(
    attempt: Callable[[], T], patience: Patience, reached: Callable[[], int] = lambda: 0
) -> T:
    """What `attempt` returns, as soon as it does. Raises Failure (UNAVAILABLE) at the deadline.

    `reached` says how far the work has come: when it has grown, patience starts anew.
    """
    failures, end, furthest = 0, 0.0, reached()
    while True:
        try:
            return attempt()
        except Transient as transient:
            now = time.monotonic()
            if reached() > furthest:
                failures, end, furthest = 0, 0.0, reached()
            end = end or now + patience.deadline_s
            wait_s = patience.wait_s(failures, transient.retry_after_s)
            failures += 1
            if now + wait_s > end:
                tried = "once" if failures == 1 else f"{failures} times"
                sentence = f"{transient.sentence}; tried {tried}, run it again later"
                raise Failure(Kind.UNAVAILABLE, sentence) from transient
            _log.info("%s; again in %.1f s", transient.sentence, wait_s)
            time.sleep(wait_s)
