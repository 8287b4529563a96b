"""`prepare`: everything that a server would find out too late, or never.

The word of a serving pod's init container: the base's files, every adapter fetched, checked against
the base and composed with its strength (examine.py), and what the server reads at its start. A bad
adapter is named and left out; the others are served. Imports no torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from serving import base as bases
from serving import examine, ready
from serving.examine import Note
from serving.lastwords import AdapterWords, ServeWords
from serving.plan import LIVE_STATE, ServePlan
from tuning import weights
from tuning.failure import Failure, Kind
from tuning.run import BaseModelSource

_ATTEMPTS = ".attempts"
_MOST_ATTEMPTS = 3
"""So often the pod is started again for a registry that does not answer."""


def prepare(plan: ServePlan, note: Note) -> ServeWords:
    """Fetch, check, compose and write; says what is served. Raises Failure when nothing can be.

    Raises Failure (UNAVAILABLE) also when an adapter could not be fetched for now, a few times: the
    kubelet starts the init container again.
    """
    model = plan.model
    source = BaseModelSource(id=model.id, revision=model.revision, path=model.path)
    token = plan.places.hub_token
    found = weights.fetch(source, Path(plan.places.model), token, note, field="inference")
    base = bases.read(model, found.folder, found.revision)
    # A server of before is gone, and what it had.
    (Path(plan.places.adapters) / LIVE_STATE).unlink(missing_ok=True)
    examine.forget(plan)
    examined = examine.examine(plan, base, note)
    _again_if_unavailable(plan, examined.words)
    ready.write(plan, found.folder, examined.served, found.revision)
    examine.forget(plan, plan.adapters if plan.live else ())
    return ServeWords(
        state="done",
        revision=found.revision,
        warning=examine.template_warning(examined.served),
        models=examine.names(plan, examined.served),
        adapters=examined.words,
        adapter_set=plan.adapter_set or None,
    )


def _again_if_unavailable(plan: ServePlan, words: Sequence[AdapterWords]) -> None:
    """Raises Failure (UNAVAILABLE) the first few times that an adapter is out of reach."""
    away = [one for one in words if one.kind == Kind.UNAVAILABLE.reason]
    if not away:
        return
    counter = Path(plan.places.adapters) / _ATTEMPTS
    attempt = 1
    with contextlib.suppress(OSError, ValueError):  # absent at the first attempt
        attempt = int(counter.read_text()) + 1
    counter.write_text(f"{attempt}\n")
    if attempt < _MOST_ATTEMPTS:
        raise Failure(Kind.UNAVAILABLE, away[0].sentence or "")
