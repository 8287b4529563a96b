"""Our operator and a peer in turns: the same load, the same cluster, a fresh namespace each time.

A machine that is shared drifts over minutes; so a ratio compares the two turns of one round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp

from benchmarks import ground
from benchmarks.contestants import TUNERY, Contestant, running
from benchmarks.lives import Life, Load, connected, live
from benchmarks.measure import Ratio, in_turns, ratio
from cluster.layout import Layout
from cluster.progress import step


@dataclass(frozen=True, slots=True)
class Rounds:
    """Turn by turn."""

    ours: Sequence[Life]
    peer: Sequence[Life]

    @property
    def cpu(self) -> Ratio:
        """CPU-seconds of whole processes, ours / the peer's."""
        return ratio([life.lived.cpu_s for life in self.ours], [p.lived.cpu_s for p in self.peer])

    @property
    def whole(self) -> bool:
        """Whether every Workspace of every turn succeeded."""
        return all(len(t.seen.succeeded) == t.load.workspaces for t in (*self.ours, *self.peer))

    def figures(self) -> list[dict[str, Any]]:
        """Of each round, by contestant."""
        pairs = zip(self.ours, self.peer, strict=True)
        return [{"ours": ours.figures(), "peer": peer.figures()} for ours, peer in pairs]


def measure(layout: Layout, pid: int, peer: Contestant, load: Load, count: int) -> Rounds:
    """So many rounds."""

    def turn(contestant: Contestant, number: int) -> Life:
        with (
            step(f"round {number + 1} of {count}: {contestant.name}"),
            ground.laid(layout, pid, contestant),
        ):
            return asyncio.run(_lived(layout, contestant, load))

    with ground.ours_restored(layout, pid):
        lives = in_turns({one.name: partial(turn, one) for one in (TUNERY, peer)}, count)
    return Rounds(lives[TUNERY.name], lives[peer.name])


async def _lived(layout: Layout, contestant: Contestant, load: Load) -> Life:
    log = layout.logs / f"{contestant.name}-bench.log"
    async with (
        connected(layout) as kube,
        aiohttp.ClientSession() as session,
        running(contestant, log, session) as operator,
    ):
        return await live(operator, kube, load)
