"""`python -m tuning prepare|tune|train|push RUN.json`: what the pod runs. The only exit of tuning.

`tune` is `train`, then `push`: what the pod's main container runs.

Signals are handled from the first line on, before anything heavy is imported. Every failure ends
with the exit code of its kind (tuning/failure.py) and its sentence, in the log and as last words.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tuning.failure import Failure, Kind
from tuning.quiet import quiet
from tuning.signals import Signals
from tuning.stop import Stop

if TYPE_CHECKING:
    from tuning.prepared import Prepared
    from tuning.progress import Progress
    from tuning.words import Words

_log = logging.getLogger("tuning")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one word; returns its exit code."""
    signals = Signals(Stop())
    with signals.installed():
        try:
            arguments = _arguments(argv)
            _configure_logging()
            return _speak(arguments, signals)
        except Failure as failure:
            return _end(failure)
        except KeyboardInterrupt:
            return _end(Failure(Kind.INTERRUPTED, f"stopped by {signals.stop.reason}"))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tuning", description="The words of the pod.")
    parser.add_argument("word", choices=("prepare", "tune", "train", "push"))
    parser.add_argument("run", type=Path, metavar="RUN.json", help="the run, as tunery wrote it")
    parser.add_argument(
        "--metrics-port", type=int, metavar="N", help="while training, answer /metrics here"
    )
    return parser.parse_args(argv)


def _configure_logging() -> None:
    # Of several processes that train together (tuning/together.py) one tells how it goes.
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    quiet()


def _speak(arguments: argparse.Namespace, signals: Signals) -> int:
    # Imported here, under handled signals: the libraries below take a second or more.
    from tuning import run
    from tuning.authorities import trusting
    from tuning.progress import Several
    from tuning.words import Words

    with ExitStack() as stack:
        sinks = [_Log()]
        if arguments.word in ("train", "tune") and arguments.metrics_port is not None:
            from tuning.metrics import MetricsServer

            server = MetricsServer(arguments.metrics_port, host="")
            sinks.append(stack.enter_context(server))  # type: ignore[arg-type]  # also a sink
        words = Words(trusting(run.read(arguments.run), os.environ), signals, Several(*sinks))
        _say(words, arguments.word)
    return 0


def _say(words: Words, word: str) -> None:
    if word == "prepare":
        _tell(words.prepare())
    if word in ("train", "tune"):
        finished = words.train()
        _log.info("trained %d steps, final loss %.4f", finished.steps, finished.final_loss)
    if word in ("push", "tune"):
        _log.info("pushed %s", words.push().pinned)


def _tell(ready: Prepared) -> None:
    from tuning.dataset import report

    for line in report.lines(ready.report):
        _log.info(line)
    for warning in ready.warnings:
        _log.warning("warning: %s", warning)
    _log.info("%d steps over %s tokens", ready.steps, f"{ready.tokens:,}")


def _end(failure: Failure) -> int:
    _log.error("%s: %s", failure.kind.reason, failure.sentence)
    return failure.kind.exit_code


class _Log:
    """A sink for a log that nobody watches live: a line every few percent."""

    def __init__(self) -> None:
        self._last = -1

    def progress(self, now: Progress) -> None:
        if now.percent // 5 != self._last:
            self._last = now.percent // 5
            loss = "" if now.loss is None else f" loss {now.loss:.4f}"
            left = "" if now.eta_s is None else f", {now.eta_s:.0f} s left"
            _log.info("step %d of %d (%d %%)%s%s", now.step, now.of, now.percent, loss, left)

    def note(self, text: str) -> None:
        _log.info(text)


if __name__ == "__main__":
    sys.exit(main())
