"""May this run push its adapter? Asked before training, while finding out is cheap.

The words are those of a push, up to the first byte of content: login, start of an upload, cancel,
look at the tag. It proves the credentials now; the push asks again.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass

from tuning.failure import Failure
from tuning.images.authorization import PUSH
from tuning.images.connection import Options
from tuning.images.credentials import Credentials
from tuning.images.registry import Registry, tag_taken
from tuning.images.upload import start_upload
from tuning.reference import Reference
from tuning.retry import Transient, patiently

_CONNECT_S, _READ_S, _DEADLINE_S = 5, 15, 8
"""A user is waiting: less patience than a push has."""


@dataclass(frozen=True, slots=True)
class Access:
    """The push is allowed."""

    reference: Reference
    user: str
    """Who pushes; empty for a registry that asks nobody."""
    existing_digest: str | None
    """What the tag is now; None when it is new."""


def check_push(
    reference: Reference,
    credentials: Credentials,
    options: Options | None = None,
    overwrite: bool = True,
    expected_digest: str | None = None,
) -> Access:
    """Raises Failure, one sentence for the one thing that is wrong. Leaves nothing behind.

    Without `overwrite`, a tag with another digest than `expected_digest` is a failure now rather
    than after training.
    """
    quick = _hurried(options or Options())
    registry = Registry(credentials, quick)
    transport = registry.transport

    def attempt() -> str:
        return start_upload(transport, reference)

    location = patiently(attempt, quick.patience)
    # A token without the right to delete is refused here; the registry clears up by itself.
    with contextlib.suppress(Failure, Transient):
        transport.send(reference, PUSH, "DELETE", location)
    existing = registry.find(reference)
    if existing not in (None, expected_digest) and not overwrite:
        raise tag_taken(reference, str(existing))
    login = credentials.for_(reference)
    return Access(reference, login.user if login else "", existing)


def _hurried(options: Options) -> Options:
    deadline_s = min(_DEADLINE_S, options.patience.deadline_s)
    return dataclasses.replace(
        options,
        connect_s=min(_CONNECT_S, options.connect_s),
        read_s=min(_READ_S, options.read_s),
        patience=dataclasses.replace(options.patience, deadline_s=deadline_s),
    )
