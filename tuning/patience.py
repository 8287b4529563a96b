"""Trying again: only what is transient, with growing jittered waits, and never for ever.

Used by fetch.py and hub.py. What is transient is decided where the error is known, by raising
`Transient`; everything else passes through at once.
"""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from tuning.failure import Failure, Kind

Result = TypeVar("Result")


class Transient(Exception):
    """May work if tried again. `patience_s` shortens how long that is worth waiting for."""

    def __init__(
        self, sentence: str, wait_s: float = 0.0, patience_s: float = float("inf")
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.wait_s = wait_s
        self.patience_s = patience_s


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to keep trying."""

    no_progress_s: float = 600.0
    """Give up when nothing new has come for this long."""
    deadline_s: float = 12 * 3600.0
    """Give up after this long whatever comes."""
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0


def patiently(
    attempt: Callable[[], Result], patience: Patience, reached: Callable[[], int] = lambda: 0
) -> Result:
    """The result of the first attempt that is not Transient.

    `reached` says how far the work has come: whenever it grows, patience starts anew. Raises
    Failure (UNAVAILABLE) with the last reason when patience is at its end.
    """
    started = last_news = time.monotonic()
    furthest, tries, waits = reached(), 0, 0
    while True:
        try:
            return attempt()
        except Transient as reason:
            now, tries = time.monotonic(), tries + 1
            if reached() > furthest:
                furthest, last_news, waits = reached(), now, 0
            wait_s = max(reason.wait_s, _backoff_s(waits, patience))
            patient_s = min(patience.no_progress_s, reason.patience_s)
            if now + wait_s > min(last_news + patient_s, started + patience.deadline_s):
                spent = f"gave up after {tries} tries in {now - started:.0f} s"
                raise Failure(Kind.UNAVAILABLE, f"{reason.sentence}; {spent}") from reason
        time.sleep(wait_s)
        waits += 1


def retry_after_s(value: str | None) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110 §10.2.3); 0 when it says nothing."""
    if not value:
        return 0.0
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        at = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _backoff_s(waits: int, patience: Patience) -> float:
    ceiling = min(patience.longest_wait_s, patience.first_wait_s * 2.0 ** min(waits, 30))
    return random.uniform(0.5, 1.0) * ceiling
