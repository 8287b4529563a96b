"""What the run was and reached → the record that goes into the adapter folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from tuning.result import Point, Record, source_of
from tuning.run import Run
from tuning.training.checkpoint import Facts

MAX_POINTS = 500
_LIBRARIES = ("accelerate", "bitsandbytes", "peft", "torch", "transformers", "trl")


@dataclass(frozen=True, slots=True)
class Data:
    """Sizes of the two splits."""

    rows: int
    eval_rows: int
    tokens: int
    """Of one epoch."""
    with_loss: int


@dataclass(frozen=True, slots=True)
class Trained:
    """What the trainer's state says at the end."""

    steps: int
    epochs: float
    tokens: int
    history: Sequence[Mapping[str, Any]]
    """TrainerState.log_history: one entry per step, and one per evaluation."""
    eval_loss: float | None
    trainable_parameters: int


def versions() -> dict[str, str]:
    """Library → version, of those that shape the bytes."""
    return {name: metadata.version(name) for name in _LIBRARIES}


def record(
    run: Run, known: Facts, revision: str | None, seed: int, data: Data, trained: Trained
) -> Record:
    """The record of a finished run; `revision` is the base's, as fetched."""
    losses = [Point(step=e["step"], loss=e["loss"]) for e in trained.history if "loss" in e]
    evaluations = (
        Point(step=e["step"], loss=e["eval_loss"]) for e in trained.history if "eval_loss" in e
    )
    return Record(
        method=run.method,
        base_model=run.model.id,
        revision=revision,
        data=source_of(run),
        data_sha256=known.data_sha256,
        rows=data.rows,
        eval_rows=data.eval_rows,
        steps=trained.steps,
        epochs=trained.epochs,
        tokens=trained.tokens,
        tokens_with_loss=trained.tokens * data.with_loss // data.tokens,
        trainable_parameters=trained.trainable_parameters,
        train_loss=_mean(losses),
        final_loss=_mean(losses[-max(len(losses) // 20, 1) :]),
        eval_loss=trained.eval_loss,
        seed=seed,
        dtype=known.precision,
        curve=thinned(losses),
        eval_curve=tuple(evaluations),
        settings=_settings(run),
        versions=versions(),
        identity=known.identity,
    )


def thinned(points: Sequence[Point], most: int = MAX_POINTS) -> tuple[Point, ...]:
    """At most `most` points, each the mean of neighbours and at the last one's step."""
    width = -(-len(points) // most) if points else 1
    groups = (points[start : start + width] for start in range(0, len(points), width))
    return tuple(Point(step=group[-1].step, loss=_mean(group)) for group in groups)


def _mean(points: Sequence[Point]) -> float:
    return sum(p.loss for p in points) / len(points) if points else 0.0


def _settings(run: Run) -> dict[str, Any]:
    """The configuration without what names this machine: the adapter is published."""
    return run.config.model_dump(mode="json", exclude={"sources", "output_dir"})
