"""Numbers about the operator and its Workspaces, as Prometheus text.

Counted by kube.py and reconcile.py as things happen; what is a matter of looking (how many
Workspaces in which state, how far they are) is looked at when somebody asks.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

Object = Mapping[str, Any]
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


class Meters:
    """One registry of its own; `text` is what /metrics answers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, registry=self._registry)

        self._seconds = Histogram(
            "tunery_reconcile_seconds",
            "Time of one reconcile, requests included.",
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._errors = counter("tunery_reconcile_errors", "Reconciles that failed.", "kind")
        self._requests = counter(
            "tunery_api_requests", "Requests to the API server; code 0: no answer.", "verb", "code"
        )
        self._gpu_seconds = counter(
            "tunery_gpu_seconds", "Seconds that GPUs were held by tuning pods, since the start."
        )

    def reconciled(self, seconds: float) -> None:
        self._seconds.observe(seconds)

    def failed(self, kind: str) -> None:
        self._errors.labels(kind).inc()

    def requested(self, verb: str, code: int) -> None:
        self._requests.labels(verb, str(code)).inc()

    def status_changed(self, before: Object, after: Object) -> None:
        """A status was written: GPU time that passed between the two is counted."""
        self._gpu_seconds.inc(max(0, _gpu_seconds(after) - _gpu_seconds(before)))

    def look_at(
        self,
        workspaces: Callable[[], Iterable[Object]],
        queued: Callable[[], int],
        leads: Callable[[], bool],
    ) -> None:
        """What is looked at at each scrape."""
        self._registry.register(_Looking(workspaces, queued, leads))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Looking(Collector):
    """Gauges made from what is there at this moment."""

    def __init__(
        self,
        workspaces: Callable[[], Iterable[Object]],
        queued: Callable[[], int],
        leads: Callable[[], bool],
    ) -> None:
        self._workspaces = workspaces
        self._queued = queued
        self._leads = leads

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = list(self._workspaces())
        yield _gauge("tunery_queue_depth", "Workspaces that wait to be looked at.", self._queued())
        yield _gauge("tunery_leader", "1: this replica writes.", int(self._leads()))
        yield _by_state(found)
        yield from _progress(found)


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=value)


def _by_state(workspaces: Iterable[Object]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "tunery_workspaces", "Workspaces by kind and state.", labels=("kind", "state")
    )
    tally = Tally(
        (
            "inference" if "inference" in body else "tuning",
            _status(body).get("state") or "Pending",
        )
        for body in workspaces
    )
    for labels, count in sorted(tally.items()):
        family.add_metric(labels, count)
    return family


def _progress(workspaces: Iterable[Object]) -> Iterator[GaugeMetricFamily]:
    """Of those that run; the others would only grow the answer."""
    labels = ("namespace", "workspace")
    done = GaugeMetricFamily("tunery_workspace_step", "Optimizer steps done.", labels=labels)
    whole = GaugeMetricFamily("tunery_workspace_steps", "Of how many.", labels=labels)
    for body in workspaces:
        progress = _status(body).get("progress") or {}
        if _status(body).get("state") == "Running" and "step" in progress:
            whose = (body["metadata"]["namespace"], body["metadata"]["name"])
            done.add_metric(whose, progress["step"])
            whole.add_metric(whose, progress.get("of") or 0)
    yield done
    yield whole


def _status(body: Object) -> Object:
    found: Object = body.get("status") or {}
    return found


def _gpu_seconds(status: Object) -> int:
    return int((status.get("progress") or {}).get("gpuSeconds") or 0)
