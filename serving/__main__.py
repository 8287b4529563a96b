"""`python -m serving prepare PLAN.json`, `live PLAN.json`, `transformers NAME`: the pods' words.

Signals are handled from the first line on. Failures end with the exit code of their kind
(tuning/failure.py), their sentence in the log and as last words.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tuning.failure import Failure, Kind
from tuning.quiet import quiet
from tuning.signals import Signals
from tuning.stop import Stop

_log = logging.getLogger("serving")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one word; returns its exit code."""
    signals = Signals(Stop())
    with signals.installed():
        try:
            arguments = _arguments(argv)
            logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
            quiet()
            return _speak(arguments)
        except Failure as failure:
            return _end(failure)
        except KeyboardInterrupt:
            return _end(Failure(Kind.INTERRUPTED, f"stopped by {signals.stop.reason}"))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving", description="Words of the pod.")
    words = parser.add_subparsers(dest="word", required=True)
    prepare = words.add_parser("prepare", help="fetch, check and compose what is served")
    prepare.add_argument("plan", type=Path, metavar="PLAN.json")
    live = words.add_parser("live", help="keep a server's adapters as the plan says, for ever")
    live.add_argument("plan", type=Path, metavar="PLAN.json")
    live.add_argument("--url", default="http://127.0.0.1:5000", help="the server's, in this pod")
    server = words.add_parser("transformers", help="transformers' own server, with POST /chat")
    server.add_argument("model", help="the served model's name: a folder below the current one")
    server.add_argument("--host", default="127.0.0.1")
    server.add_argument("--port", type=int, default=5000)
    server.add_argument("--device", default="auto")
    server.add_argument("--dtype", default="auto")
    return parser.parse_args(argv)


def _speak(arguments: argparse.Namespace) -> int:
    # Imported here, under handled signals: libraries take a second or more.
    if arguments.word == "transformers":
        _log.info("loading %s", arguments.model)
        from serving.transformers_server import serve

        serve(arguments.model, arguments.host, arguments.port, arguments.device, arguments.dtype)
        return 0
    from serving.words import live, prepare

    if arguments.word == "live":
        live(arguments.plan, arguments.url, _log.info)
    said = prepare(arguments.plan, _log.info)
    for warning in (said.warning, *(one.warning for one in said.adapters)):
        if warning:
            _log.warning("warning: %s", warning)
    _log.info("ready to serve %s", ", ".join(said.models))
    return 0


def _end(failure: Failure) -> int:
    _log.error("%s: %s", failure.kind.reason, failure.sentence)
    return failure.kind.exit_code


if __name__ == "__main__":
    sys.exit(main())
