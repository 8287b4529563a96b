"""The words with their last words: what `python -m tuning` and `tunery run` both call.

The outermost boundary of the work: whatever goes wrong inside a word leaves here as a Failure, and
its kind and sentence are in the termination message by then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tuning import lastwords, prepared, result
from tuning.failure import Failure, Kind
from tuning.keeper import forget
from tuning.lastwords import LastWords
from tuning.prepare import prepare
from tuning.prepared import Prepared
from tuning.progress import Progress, ProgressSink, Several
from tuning.push import Pushed, push
from tuning.result import Result
from tuning.run import Run
from tuning.signals import Signals
from tuning.together import together

Phase = Literal["prepare", "train", "push"]

_log = logging.getLogger(__name__)


class Words:
    """A run, whoever watches it, and the signals that may end it. A word raises only Failure."""

    def __init__(self, run: Run, signals: Signals, sink: ProgressSink) -> None:
        self.run = run
        self._signals = signals
        self._sink = sink
        self._message: Path | None = lastwords.path_of(run.places.termination_log)
        self._trained = LastWords(phase="train")

    def prepare(self, *, push_checked: bool = True) -> Prepared:
        """Fetch and check; `push_checked` False leaves out the pre-flight of the push."""
        with self._phase("prepare"):
            ready = prepare(
                self.run, self._signals.stop, self._sink.note, push_checked=push_checked
            )
            self._say(LastWords(phase="prepare", state="done", tokens=ready.tokens, of=ready.steps))
            return ready

    def train(self) -> Result:
        """Train, or go on with it, on every card of the run."""
        cards = self.run.hardware.gpus
        with self._phase("train"), self._signals.patient(), together(self.run, cards):
            # Only this word needs torch: the others must start in a second.
            from tuning.train import train

            watchers = Several(self._sink, _LastStep(self._say_trained))
            finished = train(self.run, self._signals.stop, watchers)
            self._say(
                LastWords(
                    phase="train",
                    state="done",
                    step=finished.steps,
                    of=finished.steps,
                    loss=finished.final_loss,
                    tokens=finished.tokens,
                )
            )
            return finished

    def push(self, on_bytes: Callable[[int, int], None] | None = None) -> Pushed:
        """Publish the finished adapter."""
        with self._phase("push"):
            pushed = push(self.run, on_bytes)
            self._say(_published(self.run, pushed))
            forget(self.run, self._sink.note)
            return pushed

    @contextmanager
    def _phase(self, phase: Phase) -> Iterator[None]:
        self._say(LastWords(phase=phase))
        try:
            # Asked for while the word before was finishing: nothing new is begun.
            self._signals.stop.check(f"before {phase}")
            yield
        except Failure as failure:
            raise self._failed(phase, failure) from failure.__cause__
        except KeyboardInterrupt:
            reason = self._signals.stop.reason or "a signal"
            sentence = f"stopped by {reason} during {phase}; run the same command again to go on"
            raise self._failed(phase, Failure(Kind.INTERRUPTED, sentence)) from None
        except Exception as error:
            _log.exception("%s failed in a way nobody expected", phase)
            sentence = f"{type(error).__name__}: {error}; this is a defect, please report it"
            raise self._failed(phase, Failure(Kind.INTERNAL, sentence)) from error

    def _failed(self, phase: Phase, failure: Failure) -> Failure:
        said = self._trained if phase == "train" else LastWords(phase=phase)
        why = {"state": "failed", "kind": failure.kind.reason, "sentence": failure.sentence}
        self._say(said.model_copy(update=why))
        return failure

    def _say_trained(self, words: LastWords) -> None:
        self._trained = words
        self._say(words)

    def _say(self, words: LastWords) -> None:
        lastwords.write(self._message, words)


def _published(run: Run, pushed: Pushed) -> LastWords:
    """The last words of all: a container has one message, so these repeat what was reached."""
    reached = result.read(run.places.result_file)
    ready = prepared.read_if_any(run)
    return LastWords(
        phase="push",
        state="done",
        step=reached.steps if reached else None,
        of=reached.steps if reached else None,
        loss=reached.final_loss if reached else None,
        eval_loss=reached.eval_loss if reached else None,
        tokens=reached.tokens if reached else None,
        base_revision=ready.model_revision if ready else None,
        image=pushed.target,
        digest=pushed.digest,
        size_bytes=pushed.size_bytes,
    )


class _LastStep:
    """A sink that keeps the termination message at the last step."""

    def __init__(self, say: Callable[[LastWords], None]) -> None:
        self._say = say

    def progress(self, now: Progress) -> None:
        self._say(
            LastWords(
                phase="train",
                step=now.step,
                of=now.of or None,
                kept_step=now.kept_step,
                loss=now.loss,
                tokens=now.tokens,
            )
        )

    def note(self, text: str) -> None:
        pass
