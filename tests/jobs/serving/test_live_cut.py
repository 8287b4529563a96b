"""A change of live adapters that is cut after any of its writes ends in the same."""

from __future__ import annotations

from typing import Any

from presets import Catalog
from tests.jobs.serving.test_live import Live, by_image


def changed(catalog: Catalog, cut: int | None) -> Any:
    """What is there after a change whose first look was killed after so many writes."""
    live = Live(catalog, by_image("style"))
    live.start()
    live.world.edit("inference.adapters", [by_image("style", "2"), by_image("more")])
    decision = live.world.reconcile(cut)
    live.world.settle()
    live.say(live.words())
    pods = [pod["metadata"].get("annotations") for pod in live.world.pods]
    return len(decision.actions), live.world.lasting(), pods


def test_a_crash_after_any_write_ends_in_the_same(catalog: Catalog) -> None:
    writes, *whole = changed(catalog, None)
    assert writes >= 3
    for cut in range(writes):
        assert changed(catalog, cut)[1:] == tuple(whole), f"cut after {cut} writes"
