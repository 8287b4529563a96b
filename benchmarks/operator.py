"""What the operator costs: N Workspaces from `kubectl apply` to Succeeded, then at rest, then
restarted.

    python -m benchmarks.operator --workspaces 1000 --json out.json

On the cluster of cluster/ with the nodes of simulated_pods.py. The operator is a process of its
own, started as in its image; its CPU and memory are the kernel's figures, its requests its own
counters on /metrics. Latencies come from watches of this process: what a user would see.

With --peer the same load is given in turns to ours and to KAITO's controller, each with the CRD it
ships and with nothing left of the other (kaito.py says how to build and name it). Both act on all
namespaces: not for a cluster that has Workspaces of yours.

    python -m benchmarks.operator --peer kaito/workspace --peer-crds kaito/config/crd/bases \\
        --workspaces 1000 --rounds 3
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Run as a file, this folder would be first, and this very file everybody's `operator`.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT / "benchmarks"]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

import argparse
import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import alone, rounds, simulated_pods
from benchmarks.kaito import kaito
from benchmarks.lives import Load
from benchmarks.measure import median, table
from cluster.layout import Layout, default
from cluster.session import borrowed
from cluster.up import Options


@dataclass(frozen=True, slots=True)
class Told:
    """What comes of it."""

    numbers: dict[str, Any]
    table: str
    whole: bool
    """Whether every Workspace succeeded."""


def main(words: Sequence[str] | None = None) -> int:
    given = _parse(words)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    layout = default()
    with borrowed(layout, Options()) as pid:
        simulated_pods.start(layout, pid, given.nodes)
        try:
            told = (_against_peer if given.peer else _alone)(layout, pid, given)
        finally:
            simulated_pods.stop(layout, pid)
    if given.json:
        given.json.write_text(json.dumps(told.numbers, indent=1) + "\n")
    print(told.table)
    return 0 if told.whole else 1


def _alone(layout: Layout, pid: int, given: Any) -> Told:
    numbers = alone.measure(layout, pid, _load(given))
    text = table(("what", "measured"), list(numbers.items()))
    return Told(numbers, text, numbers["succeeded"] == given.workspaces)


def _against_peer(layout: Layout, pid: int, given: Any) -> Told:
    peer = kaito(given.peer, given.peer_crds, given.peer_qps)
    found = rounds.measure(layout, pid, peer, _load(given), given.rounds)
    cpu = found.cpu
    numbers = {
        "workspaces": given.workspaces,
        "per_second": given.rate,
        "nodes": given.nodes,
        "peer_qps": given.peer_qps,
        "rounds": found.figures(),
        "cpu_ratio": {"min": cpu.lowest, "median": cpu.median, "max": cpu.highest},
    }
    rows = [*_rows(found.figures()), ("CPU, ours / kaito", cpu, "")]
    text = table(("min / median / max of the rounds", "ours", "kaito"), rows)
    return Told(numbers, text, found.whole)


def _rows(found: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    names = [name for name, value in found[0]["ours"].items() if not isinstance(value, dict)]
    return [
        (name, *(_spread([turn[who][name] for turn in found]) for who in ("ours", "peer")))
        for name in names
    ]


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return f"{known[0]:g}" if known else "not told"
    return f"{min(known):g} / {median(known):g} / {max(known):g}"


def _load(given: Any) -> Load:
    return Load(given.workspaces, given.rate, given.limit_s)


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.operator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workspaces", type=int, default=1000, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    parser.add_argument("--rate", type=float, default=20, help="creations a second")
    parser.add_argument("--limit-s", type=float, default=600, help="after the last creation")
    parser.add_argument("--nodes", type=int, default=40, metavar="N", help="of 1000 pods each")
    peer = parser.add_argument_group("a peer")
    peer.add_argument("--peer", type=Path, metavar="FILE", help="KAITO's controller, a program")
    peer.add_argument("--peer-crds", type=Path, metavar="DIR", help="its CRDs, YAML files")
    peer.add_argument(
        "--peer-qps",
        type=int,
        default=1000,
        metavar="N",
        help="requests a second that its client may make; 0: as it ships, 30 (default 1000)",
    )
    peer.add_argument("--rounds", type=int, default=3, metavar="N", help="with --peer (default 3)")
    given = parser.parse_args(words)
    if given.peer and not (given.peer.is_file() and given.peer_crds and given.peer_crds.is_dir()):
        parser.error("--peer needs a program, and --peer-crds a folder")
    return given


if __name__ == "__main__":
    sys.exit(main())
