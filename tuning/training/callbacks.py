"""What happens at the end of each step: report, refuse NaN, save in time, stop when asked.

Trainer callbacks only; each promise is one class. Order: DefaultFlowCallback (the library's own
schedule) runs before them, so that they see and complete its decisions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tuning.failure import Failure, Kind
from tuning.progress import Pace, Progress, ProgressSink
from tuning.stop import Stop
from tuning.training import checkpoint, ranks
from tuning.training.model import trainable

CHECKPOINT_EVERY_S = 600.0
BEFORE_EVALUATION_S = 60.0
"""An evaluation that is interrupted starts again: so much work may be lost with it."""

Clock = Callable[[], float]
Offer = Callable[[Path, Path | None], None]
"""Told of each new checkpoint and of the best so far, if another is."""


class StopCallback(TrainerCallback):  # type: ignore[misc]  # untyped library
    """Ends the run at a step boundary with a checkpoint."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if ranks.any_of(self._stop.requested):
            control.should_save = True
            control.should_training_stop = True

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """An evaluation is left at once: it changes nothing and is repeated after a resume."""
        if ranks.any_of(self._stop.requested):
            raise interrupted(self._stop, state.global_step, state.max_steps)


def interrupted(stop: Stop, step: int, of: int) -> Failure:
    """The failure of a run that was stopped."""
    sentence = (
        f"stopped by {stop.reason or 'another process'} at step {step} of {of}; "
        "run the same command again to go on from the last checkpoint"
    )
    return Failure(Kind.INTERRUPTED, sentence)


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]  # untyped library
    """Saves every ten minutes and after the last step; seals and rotates whatever was saved."""

    def __init__(
        self,
        work: Path,
        known: checkpoint.Facts,
        versions: Mapping[str, str],
        every_s: float = CHECKPOINT_EVERY_S,
        clock: Clock = time.monotonic,
        offer: Offer | None = None,
    ) -> None:
        self._work, self._known, self._versions = work, known, versions
        self._every_s, self._clock, self._offer = every_s, clock, offer
        self._saved_s = clock()
        self.step: int | None = None
        """Of the newest checkpoint that was saved, or gone on from."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.step = state.global_step or None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        elapsed_s = self._clock() - self._saved_s
        limit_s = BEFORE_EVALUATION_S if _evaluates_next(args, state) else self._every_s
        if ranks.any_of(elapsed_s >= limit_s) or state.global_step >= state.max_steps:
            control.should_save = True

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **_: Any,
    ) -> None:
        folder = self._work / checkpoint.name(state.global_step)
        refuse_infinite(model, state.global_step)
        ranks.wait_for_all()
        if ranks.is_main():
            checkpoint.seal(folder, state.global_step, self._known, self._versions)
            best = Path(state.best_model_checkpoint) if state.best_model_checkpoint else None
            # The adapter itself follows the last step.
            if self._offer and state.global_step < state.max_steps:
                self._offer(folder, best)
            checkpoint.rotate(self._work, spare=best)
        self._saved_s, self.step = self._clock(), state.global_step


def _evaluates_next(args: TrainingArguments, state: TrainerState) -> bool:
    every = int(state.eval_steps or 0) if args.eval_strategy == "steps" else 0
    return every > 0 and (state.global_step + 1) % every == 0


class FiniteCallback(TrainerCallback):  # type: ignore[misc]  # untyped library
    """Ends a run whose loss is no number: nothing good can come after it."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        for name in ("loss", "eval_loss"):
            value = (logs or {}).get(name)
            if value is not None and not math.isfinite(value):
                raise _diverged(f"the {name.replace('_', ' ')} became {value}", state.global_step)


def refuse_infinite(model: torch.nn.Module, step: int) -> None:
    """Raises Failure (BAD_CONFIG) when an adapter weight is NaN or infinite."""
    for name, parameter in trainable(model).items():
        if not bool(torch.isfinite(parameter).all()):
            raise _diverged(f"{name} is no longer finite", step)


def _diverged(what: str, step: int) -> Failure:
    sentence = (
        f"training_config.TrainingArguments.learning_rate: training diverged at step {step} "
        f"({what}); lower learning_rate, or raise warmup_steps"
    )
    return Failure(Kind.BAD_CONFIG, sentence)


class ProgressCallback(TrainerCallback):  # type: ignore[misc]  # untyped library
    """Tells the sink after every step."""

    def __init__(self, sink: ProgressSink, clock: Clock = time.monotonic) -> None:
        self._sink, self._clock = sink, clock
        self.kept_step: Callable[[], int | None] = lambda: None
        """Of the newest checkpoint that outlives the pod."""
        self._pace = Pace(0, 0, clock())
        self._last = Progress(0, 0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._pace = Pace(state.global_step, state.num_input_tokens_seen, self._clock())
        kept = self.kept_step()
        self._last = Progress(state.global_step, state.max_steps, kept_step=kept)
        self._tell()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        said = logs or {}
        if "loss" not in said and "eval_loss" not in said:
            return
        step, tokens = state.global_step, state.num_input_tokens_seen
        pace = self._pace.after(step, state.max_steps, tokens, self._clock())
        self._last = Progress(
            step=step,
            of=state.max_steps,
            loss=said.get("loss", self._last.loss),
            eval_loss=said.get("eval_loss", self._last.eval_loss),
            learning_rate=said.get("learning_rate", self._last.learning_rate),
            epoch=float(state.epoch or 0.0),
            tokens=int(tokens),
            tokens_per_s=pace[0] if pace else None,
            eta_s=pace[1] if pace else None,
            kept_step=self.kept_step(),
        )
        self._tell()

    def news(self) -> None:
        """Tell the last step again, if a newer checkpoint has been kept since."""
        kept = self.kept_step()
        if self._last.of and kept != self._last.kept_step:
            self._last = replace(self._last, kept_step=kept)
            self._tell()

    def _tell(self) -> None:
        if ranks.is_main():
            self._sink.progress(self._last)
