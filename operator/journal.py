"""What became of a Workspace, told where people look: Kubernetes Events.

reconcile.py puts them here after the status is written; they are posted beside its work, by the
poster that leads. An Event that cannot be posted is logged and forgotten: it is news, not state,
and must never keep a Workspace from going on.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence

from apierror import ApiError
from jobs.decision import Event, Object
from kube import OWNER, Kube

log = logging.getLogger("tunery.journal")
_LONGEST = 1024
"""Of an Event's message: the API server refuses more."""
_MOST_WAITING = 1000


class Journal:
    """`post` at any time; `run` as many as shall post at once. `instance` is this pod's name."""

    def __init__(self, kube: Kube, instance: str) -> None:
        self._kube = kube
        self._instance = instance
        self._waiting: asyncio.Queue[Object] = asyncio.Queue(_MOST_WAITING)

    def post(self, about: Object, events: Sequence[Event], now: str) -> None:
        for event in events:
            try:
                self._waiting.put_nowait(self._event(about, event, now))
            except asyncio.QueueFull:
                log.warning("event=%s not posted: too many wait", event.reason)

    async def run(self) -> None:
        """Until cancelled; what waits then is lost."""
        while True:
            event = await self._waiting.get()
            try:
                await self._kube.create(event)
            except ApiError as error:
                log.warning("event=%s not posted: %s", event["reason"], error)

    def _event(self, about: Object, event: Event, now: str) -> Object:
        metadata = about["metadata"]
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}",
                "namespace": metadata["namespace"],
            },
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:_LONGEST],
            "source": {"component": OWNER},
            "reportingComponent": OWNER,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
