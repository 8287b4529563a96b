"""`prepare` with its last words: the outermost boundary of the init container's work.

Whatever goes wrong leaves here as a Failure, and its kind and sentence are in the termination
message by then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from serving import lastwords, plan
from serving.lastwords import ServeWords
from serving.prepare import prepare as work
from tuning.failure import Failure, Kind
from tuning.lastwords import path_of

_log = logging.getLogger(__name__)


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


def _failed(message: Path | None, failure: Failure) -> Failure:
    words = ServeWords(state="failed", kind=failure.kind.reason, sentence=failure.sentence)
    lastwords.write(message, words)
    return failure
