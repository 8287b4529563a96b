"""Resolutions and reports as lines for people. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from jobs.memory import Plan
from tuning.run import Run


def table(rows: Iterable[Sequence[str]], indent: str = "  ") -> Iterator[str]:
    """Columns, aligned."""
    kept = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*kept, strict=True)]
    for row in kept:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield (indent + "  ".join(cells)).rstrip()


def settings(run: Run) -> Iterator[str]:
    """Each resolved value and where it came from."""
    yield "settings"
    shown = (r for r in run.resolved if r.value != "None")
    yield from table((r.path, _short(r.value), f"({r.source})") for r in shown)


def memory(plan: Plan, name: str, gib: float) -> Iterator[str]:
    """The estimate by its parts, against the card."""
    e = plan.estimate
    yield f"memory: {e.total_gib:.1f} GiB of {gib:.0f} GiB on {name}"
    parts = (
        ("weights", e.weights_gib),
        ("adapters and optimizer", e.adapters_gib),
        ("activations", e.activations_gib),
        ("output head", e.head_gib),
        ("buffers", e.buffers_gib),
        ("CUDA context and slack", _rest(plan)),
    )
    yield from table((label, f"{value:.2f} GiB") for label, value in parts)


def _rest(plan: Plan) -> float:
    e = plan.estimate
    known = e.weights_gib + e.adapters_gib + e.activations_gib + e.head_gib + e.buffers_gib
    return e.total_gib - known


def _short(value: str, longest: int = 60) -> str:
    line = " ".join(value.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
