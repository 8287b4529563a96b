from __future__ import annotations

import pytest

from tuning.failure import Failure, Kind
from tuning.stop import Stop


def test_nobody_has_asked_yet() -> None:
    stop = Stop()
    assert not stop.requested and stop.reason == ""
    stop.check("anywhere")


def test_the_first_reason_is_kept() -> None:
    stop = Stop()
    stop.request("SIGTERM")
    stop.request("SIGINT")
    assert stop.requested and stop.reason == "SIGTERM"


def test_between_phases_it_is_an_interruption_that_says_how_to_go_on() -> None:
    stop = Stop()
    stop.request("SIGTERM")
    with pytest.raises(Failure) as interrupted:
        stop.check("before the first step")
    assert interrupted.value.kind is Kind.INTERRUPTED
    assert "SIGTERM before the first step" in interrupted.value.sentence
    assert "run the same command again" in interrupted.value.sentence
