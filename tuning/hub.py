"""Asking a Hugging Face hub: its errors told apart once, and again only what may help.

Used for weights (tuning/weights.py) and data sets (dataset/hub_data.py). Imports huggingface_hub
when it is first asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from presets.problem import printable
from tuning.failure import Failure, Kind
from tuning.retry import Patience, Transient, patiently

T = TypeVar("T")
_TRANSIENT = (408, 425, 429)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, and what to do when the hub says no."""

    what: str
    """As it stands in a sentence: `the data set org/name`, `org/model`."""
    if_misnamed: str
    if_gated: str
    if_private: str
    if_no_revision: str


def ask(asked: Asked, call: Callable[[], T], patience: Patience | None = None) -> T:
    """What `call` returns. Raises Failure: NO_ACCESS, BAD_CONFIG; UNAVAILABLE at the deadline."""
    import httpx
    from huggingface_hub import errors

    what = printable(asked.what)

    def attempt() -> T:
        try:
            return call()
        except errors.HFValidationError as error:
            sentence = f"{what} is not a name on the hub; {asked.if_misnamed}"
            raise Failure(Kind.BAD_CONFIG, sentence) from error
        except errors.HfHubHTTPError as error:
            no = _final(what, asked, error)
            raise no or Transient(f"the hub does not give {what} ({_brief(error)})") from error
        except (httpx.HTTPError, errors.LocalEntryNotFoundError, ConnectionError) as error:
            raise Transient(f"the hub does not give {what} ({_brief(error)})") from error

    return patiently(attempt, patience or Patience())


def _final(what: str, asked: Asked, error: Any) -> Failure | None:
    """The Failure of an answer that asking again does not change."""
    from huggingface_hub import errors

    status = getattr(error.response, "status_code", 0)
    if isinstance(error, errors.GatedRepoError):
        sentence = f"{what} is gated and the token has no access; {asked.if_gated}"
        return Failure(Kind.NO_ACCESS, sentence)
    if isinstance(error, errors.RevisionNotFoundError):
        return Failure(Kind.BAD_CONFIG, f"{what} has no such revision; {asked.if_no_revision}")
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403):
        sentence = f"{what} is not on the hub or is private; {asked.if_private}"
        return Failure(Kind.NO_ACCESS, sentence)
    if 400 <= status < 500 and status not in _TRANSIENT:
        sentence = f"the hub answers {status} for {what}; check its name and revision"
        return Failure(Kind.BAD_CONFIG, sentence)
    return None


def _brief(error: Exception) -> str:
    return printable(" ".join(str(error).split()) or type(error).__name__)[:160]
