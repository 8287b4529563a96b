"""`prepare` with its last words, and `live`: the outermost boundary of our containers' work.

Whatever goes wrong leaves here as a Failure, and its kind and sentence are in the termination
message by then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from serving import lastwords, plan
from serving.lastwords import ServeWords
from serving.live import Live
from serving.prepare import prepare as work
from serving.runtime import Server
from tuning.failure import Failure, Kind
from tuning.lastwords import path_of

_log = logging.getLogger(__name__)
_AGAIN_S = 10.0


def prepare(path: Path, note: Callable[[str], None]) -> ServeWords:
    """Carry out the plan in this file. Raises only Failure (and KeyboardInterrupt)."""
    wanted = plan.read(path)
    message = path_of(wanted.places.termination_log)
    lastwords.write(message, ServeWords())
    try:
        said = work(wanted, note)
    except Failure as failure:
        raise _failed(message, failure) from failure.__cause__
    except KeyboardInterrupt:
        sentence = "stopped while it prepared; it is started again with the pod"
        _failed(message, Failure(Kind.INTERRUPTED, sentence))
        raise
    except OSError as error:
        sentence = f"the pod's volumes cannot be written: {error}; give them more space"
        raise _failed(message, Failure(Kind.UNAVAILABLE, sentence)) from error
    except Exception as error:
        _log.exception("prepare failed in a way nobody expected")
        sentence = f"{type(error).__name__}: {error}; this is a defect, please report it"
        raise _failed(message, Failure(Kind.INTERNAL, sentence)) from error
    lastwords.write(message, said)
    return said


def live(path: Path, url: str, note: Callable[[str], None]) -> NoReturn:
    """Keep the plan's adapters in the server at `url`, until a signal ends it.

    Raises Failure only for a plan that cannot be read at the start, and KeyboardInterrupt.
    """
    key = plan.read(path).user_flags.get("api-key")
    keeper = Live(path, Server(url, key if isinstance(key, str) else None), note)
    while True:
        try:
            wait_s = keeper.look()
        except Exception:  # noqa: BLE001 the outermost boundary: without it the pod is not ready
            _log.exception("the adapters could not be looked after; again in %.0f s", _AGAIN_S)
            wait_s = _AGAIN_S
        time.sleep(wait_s)


def _failed(message: Path | None, failure: Failure) -> Failure:
    words = ServeWords(state="failed", kind=failure.kind.reason, sentence=failure.sentence)
    lastwords.write(message, words)
    return failure
